package network

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/session"
)

// change is the body of POST /networks/{id}/update.
type change struct {
	AddLabels    map[string]string `json:",omitempty"`
	RemoveLabels []string          `json:",omitempty"`
	DNS          *[]netip.Addr     `json:",omitempty"`
	Options      map[string]string `json:",omitempty"`
}

type updating struct {
	labels, gone, dns, optionsGone option.List
	options                        option.Map
	noDNS                          bool
}

func newUpdate(s *session.Session) *cobra.Command {
	var o updating
	cmd := &cobra.Command{
		Use:               "update [OPTIONS] NETWORK",
		Annotations:       session.Brief,
		Short:             "Change a network while containers are in it",
		Args:              session.Exactly(1),
		ValidArgsFunction: session.CompleteNetworks(s, 1),
		RunE: func(cmd *cobra.Command, args []string) error {
			request, err := o.request()
			if err != nil {
				return err
			}
			api, err := s.Client()
			if err != nil {
				return err
			}
			if err := api.Post(cmd.Context(), path(args[0], "update"), nil, request, nil); err != nil {
				return err
			}
			fmt.Fprintln(s.Out, args[0])
			return nil
		},
	}
	f := cmd.Flags()
	o.labels.Check, o.dns.Check = option.CheckLabel, option.CheckIP
	f.Var(&o.labels, "label-add", "Set a label")
	f.Var(&o.gone, "label-rm", "Remove a label by its key")
	f.Var(&o.dns, "dns", "Name server for containers that name none (replaces those that were set)")
	f.BoolVar(&o.noDNS, "no-dns", false, "Let containers ask the daemon's name servers again")
	f.VarP(&o.options, "opt", "o", "Set a driver option that can change live")
	f.Var(&o.optionsGone, "opt-rm", "Take a driver option away")
	return cmd
}

func (o *updating) request() (change, error) {
	c := change{AddLabels: option.PairMap(o.labels.Values), RemoveLabels: o.gone.Values, Options: o.options.Values}
	if o.noDNS && len(o.dns.Values) > 0 {
		return c, errors.New("conflicting options: --dns and --no-dns")
	}
	if o.noDNS || len(o.dns.Values) > 0 {
		servers := option.Addresses(o.dns.Values)
		if servers == nil {
			servers = []netip.Addr{}
		}
		c.DNS = &servers
	}
	for _, name := range o.optionsGone.Values {
		if c.Options == nil {
			c.Options = map[string]string{}
		}
		c.Options[name] = ""
	}
	if len(c.AddLabels)+len(c.RemoveLabels)+len(c.Options) == 0 && c.DNS == nil {
		return c, errors.New("you must provide one or more flags when using this command")
	}
	return c, nil
}
