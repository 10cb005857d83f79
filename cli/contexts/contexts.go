// Package contexts holds the commands about contexts: named places of daemons, stored as docker stores them.
package contexts

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sort"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/config"
	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/session"
)

// New is `context` with its commands.
func New(s *session.Session) *cobra.Command {
	return session.Group("context", "Manage contexts", newList(s), newUse(s), newCreate(s), newUpdate(s), newRemove(s), newInspect(s), newShow(s))
}

// Complete offers the names of contexts for the first limit arguments (-1: all).
func Complete(s *session.Session, limit int) cobra.CompletionFunc {
	return func(_ *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		if limit >= 0 && len(args) >= limit {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		// What can't be read can't be offered.
		list, _ := s.Config().Contexts()
		names := []string{config.DefaultContext}
		for _, c := range list {
			names = append(names, c.Name)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
}

type row struct {
	c       config.Context
	current bool
	broken  string
}

// Name of the context.
func (r row) Name() string { return r.c.Name }

// Description that the user gave.
func (r row) Description() string { return format.Ellipsis(r.c.Description, 60) }

// DockerEndpoint is the daemon's address.
func (r row) DockerEndpoint() string { return r.c.Host }

// Current is whether it is in use.
func (r row) Current() bool { return r.current }

// Error is why it can't be used.
func (r row) Error() string { return r.broken }

func newList(s *session.Session) *cobra.Command {
	var quiet, asJSON bool
	var text string
	cmd := &cobra.Command{
		Use:               "ls [OPTIONS]",
		Short:             "List contexts",
		Aliases:           []string{"list"},
		Args:              session.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			list, bad := s.Config().Contexts()
			rows := contextRows(s, list)
			if asJSON {
				text = "json"
			}
			if quiet && text == "" {
				text = "{{.Name}}"
			}
			err := format.Rows(format.Table{Out: s.Out, Format: text,
				Default: "table {{.Name}}{{if .Current}} *{{end}}\t{{.Description}}\t{{.DockerEndpoint}}\t{{.Error}}",
				Headers: format.Headers{"Name": "NAME", "Description": "DESCRIPTION", "DockerEndpoint": "DOCKER ENDPOINT", "Error": "ERROR", "Current": ""}}, rows)
			return errors.Join(err, bad)
		},
	}
	cmd.Flags().BoolVarP(&quiet, "quiet", "q", false, "Only show context names")
	format.Flag(cmd.Flags(), &text, &asJSON)
	return cmd
}

func contextRows(s *session.Session, list []config.Context) []row {
	current := s.ContextName()
	rows := []row{{c: config.Context{Name: config.DefaultContext, Description: "Address by flag, environment, or the standard one", Host: s.DefaultHost()}}}
	for _, c := range list {
		rows = append(rows, row{c: c})
	}
	known := false
	for i := range rows {
		rows[i].current = rows[i].c.Name == current
		known = known || rows[i].current
	}
	if !known {
		rows = append(rows, row{c: config.Context{Name: current}, current: true, broken: "context not found"})
	}
	sort.Slice(rows, func(i, j int) bool { return rows[i].c.Name < rows[j].c.Name })
	return rows
}

func newUse(s *session.Session) *cobra.Command {
	return &cobra.Command{
		Use:               "use CONTEXT",
		Short:             "Set the current context",
		Args:              session.Exactly(1),
		ValidArgsFunction: Complete(s, 1),
		RunE: func(_ *cobra.Command, args []string) error {
			name := args[0]
			file := s.Config()
			file.CurrentContext = ""
			if name != config.DefaultContext {
				if err := config.ValidateContextName(name); err != nil {
					return err
				}
				if _, err := file.Context(name); err != nil {
					return err
				}
				file.CurrentContext = name
			}
			if err := file.Save(); err != nil {
				return err
			}
			fmt.Fprintln(s.Out, name)
			fmt.Fprintf(s.Err, "Current context is now %q\n", name)
			for _, variable := range []string{"BERTH_HOST", "DOCKER_HOST"} {
				if name != config.DefaultContext && os.Getenv(variable) != "" {
					fmt.Fprintf(s.Err, "Warning: %s environment variable overrides the active context. To use %q, either set the global --context flag, or unset %s environment variable.\n",
						variable, name, variable)
				}
			}
			return nil
		},
	}
}

func newShow(s *session.Session) *cobra.Command {
	return &cobra.Command{
		Use:               "show",
		Short:             "Print the name of the current context",
		Args:              session.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(*cobra.Command, []string) error {
			fmt.Fprintln(s.Out, s.ContextName())
			return nil
		},
	}
}

type editing struct {
	description, from string
	endpoint          option.List
}

func newCreate(s *session.Session) *cobra.Command {
	var o editing
	cmd := &cobra.Command{
		Use:               "create [OPTIONS] CONTEXT",
		Short:             "Create a context",
		Args:              session.Exactly(1),
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, args []string) error {
			name := args[0]
			if err := config.ValidateContextName(name); err != nil {
				return err
			}
			if _, err := s.Config().Context(name); err == nil {
				return fmt.Errorf("context %q already exists", name)
			} else if !errors.Is(err, config.ErrNoContext) {
				return err
			}
			made, err := o.start(s)
			if err != nil {
				return err
			}
			made.Name = name
			return o.save(cmd, s, made, "Successfully created context")
		},
	}
	o.flags(cmd)
	cmd.Flags().StringVar(&o.from, "from", "", "Create context from a named context")
	return cmd
}

// start is what a new context begins with: another one, or the address in use.
func (o *editing) start(s *session.Session) (config.Context, error) {
	switch {
	case o.from != "" && o.from != config.DefaultContext:
		return s.Config().Context(o.from)
	case o.from == config.DefaultContext || len(o.endpoint.Values) == 0:
		return config.Context{Host: s.DefaultHost()}, nil
	}
	return config.Context{}, nil
}

func newUpdate(s *session.Session) *cobra.Command {
	var o editing
	cmd := &cobra.Command{
		Use:               "update [OPTIONS] CONTEXT",
		Short:             "Update a context",
		Args:              session.Exactly(1),
		ValidArgsFunction: Complete(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := config.ValidateContextName(args[0]); err != nil {
				return err
			}
			c, err := s.Config().Context(args[0])
			if err != nil {
				return err
			}
			return o.save(cmd, s, c, "Successfully updated context")
		},
	}
	o.flags(cmd)
	return cmd
}

func (o *editing) flags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.description, "description", "", "Description of the context")
	cmd.Flags().Var(&o.endpoint, "docker", "set the docker endpoint: host=…,ca=FILE,cert=FILE,key=FILE,skip-tls-verify=true")
}

func (o *editing) save(cmd *cobra.Command, s *session.Session, c config.Context, done string) error {
	if cmd.Flags().Changed("description") {
		c.Description = o.description
	}
	for _, text := range o.endpoint.Values {
		if err := applyEndpoint(s, &c, text); err != nil {
			return fmt.Errorf("unable to create docker endpoint config: %w", err)
		}
	}
	if _, err := c.TLS(); err != nil {
		return fmt.Errorf("unable to create docker endpoint config: %w", err)
	}
	if err := s.Config().SaveContext(c); err != nil {
		return err
	}
	fmt.Fprintln(s.Out, c.Name)
	fmt.Fprintf(s.Err, "%s %q\n", done, c.Name)
	return nil
}

func applyEndpoint(s *session.Session, c *config.Context, text string) error {
	for field := range strings.SplitSeq(text, ",") {
		key, value, ok := strings.Cut(field, "=")
		if !ok {
			return fmt.Errorf("invalid field %q: wanted key=value", field)
		}
		var into *[]byte
		switch key {
		case "host":
			if !strings.Contains(value, "://") {
				return fmt.Errorf("unable to parse docker host `%s`", value)
			}
			c.Host = value
			continue
		case "skip-tls-verify":
			skip, err := strconv.ParseBool(value)
			if err != nil {
				return fmt.Errorf("skip-tls-verify: %w", err)
			}
			c.SkipVerify = skip
			continue
		case "from":
			if value == config.DefaultContext {
				c.Host = s.DefaultHost()
				continue
			}
			other, err := s.Config().Context(value)
			if err != nil {
				return err
			}
			c.Host, c.SkipVerify, c.CA, c.Cert, c.Key = other.Host, other.SkipVerify, other.CA, other.Cert, other.Key
			continue
		case "ca":
			into = &c.CA
		case "cert":
			into = &c.Cert
		case "key":
			into = &c.Key
		default:
			return fmt.Errorf("unrecognized config key: %s", key)
		}
		pem, err := os.ReadFile(value)
		if err != nil {
			return err
		}
		*into = pem
	}
	return nil
}

func newRemove(s *session.Session) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:               "rm CONTEXT [CONTEXT...]",
		Short:             "Remove one or more contexts",
		Aliases:           []string{"remove"},
		Args:              session.AtLeast(1),
		ValidArgsFunction: Complete(s, -1),
		RunE: func(_ *cobra.Command, args []string) error {
			current := s.ContextName()
			return s.Each(args, func(name string) error {
				if name == config.DefaultContext {
					return fmt.Errorf("context %q cannot be removed", name)
				}
				if name == current && !force {
					return fmt.Errorf("context %q is in use, set -f flag to force remove", name)
				}
				err := s.Config().RemoveContext(name)
				if force && errors.Is(err, config.ErrNoContext) {
					err = nil
				}
				if err != nil {
					return err
				}
				if s.Config().CurrentContext == name {
					s.Config().CurrentContext = ""
					return s.Config().Save()
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVarP(&force, "force", "f", false, "Force the removal of a context in use")
	return cmd
}

// The shape of inspection, as docker has it.
type inspected struct {
	Name        string
	Metadata    map[string]any
	Endpoints   map[string]endpoint
	TLSMaterial map[string][]string
	Storage     storage
}

type endpoint struct {
	Host          string `json:",omitempty"`
	SkipTLSVerify bool
}

type storage struct{ MetadataPath, TLSPath string }

func newInspect(s *session.Session) *cobra.Command {
	var text string
	var asJSON bool
	cmd := &cobra.Command{
		Use:               "inspect [OPTIONS] [CONTEXT] [CONTEXT...]",
		Short:             "Display detailed information on one or more contexts",
		ValidArgsFunction: Complete(s, -1),
		RunE: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{s.ContextName()}
			}
			if asJSON {
				text = "json"
			}
			return format.Inspect(s.Out, text, args, func(name string) (format.Inspected, error) { return find(s, name) })
		},
	}
	format.InspectFlag(cmd.Flags(), &text, &asJSON)
	return cmd
}

func find(s *session.Session, name string) (format.Inspected, error) {
	v := inspected{Name: name, Metadata: map[string]any{}, TLSMaterial: map[string][]string{}, Storage: storage{"<IN MEMORY>", "<IN MEMORY>"}}
	if name == config.DefaultContext {
		v.Endpoints = map[string]endpoint{"docker": {Host: s.DefaultHost()}}
	} else {
		c, err := s.Config().Context(name)
		if err != nil {
			return format.Inspected{}, err
		}
		v.Endpoints = map[string]endpoint{"docker": {Host: c.Host, SkipTLSVerify: c.SkipVerify}}
		if c.Description != "" {
			v.Metadata["Description"] = c.Description
		}
		for _, file := range []struct {
			name string
			pem  []byte
		}{{"ca.pem", c.CA}, {"cert.pem", c.Cert}, {"key.pem", c.Key}} {
			if len(file.pem) > 0 {
				v.TLSMaterial["docker"] = append(v.TLSMaterial["docker"], file.name)
			}
		}
		v.Storage.MetadataPath, v.Storage.TLSPath = c.Folders()
	}
	raw, err := json.Marshal(v)
	return format.Inspected{Raw: raw, Typed: v}, err
}
