package system

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sort"
	"strings"
	"time"

	"github.com/moby/moby/api/types/events"
	"github.com/spf13/cobra"

	"github.com/berth-engine/berth/cli/client"
	"github.com/berth-engine/berth/cli/format"
	"github.com/berth-engine/berth/cli/option"
	"github.com/berth-engine/berth/cli/session"
)

type watching struct {
	since, until, format string
	asJSON               bool
	filter               option.Filters
}

// NewEvents is `events` and `system events`.
func NewEvents(s *session.Session) *cobra.Command {
	var o watching
	cmd := &cobra.Command{
		Use:               "events [OPTIONS]",
		Short:             "Get real time events from the server",
		Args:              session.None,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE:              func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), s) },
	}
	f := cmd.Flags()
	f.StringVar(&o.since, "since", "", "Show all events created since timestamp")
	f.StringVar(&o.until, "until", "", "Stream events until this timestamp")
	f.VarP(&o.filter, "filter", "f", "Filter output based on conditions provided")
	format.Flag(f, &o.format, &o.asJSON)
	return cmd
}

func (o *watching) run(ctx context.Context, s *session.Session) error {
	if o.asJSON {
		o.format = "json"
	}
	query := session.FilterQuery(o.filter.Encode())
	if err := moments(query, o.since, o.until); err != nil {
		return err
	}
	show, err := eventWriter(s.Out, o.format)
	if err != nil {
		return &session.ExitError{Code: 64, Text: "Error parsing format: " + err.Error()}
	}
	api, err := s.Client()
	if err != nil {
		return err
	}
	resp, err := api.Send(ctx, client.Request{Method: http.MethodGet, Path: "/events", Query: query})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	dec := json.NewDecoder(resp.Body)
	for {
		var raw json.RawMessage
		if err := dec.Decode(&raw); err != nil {
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return nil
			}
			return err
		}
		if err := show(raw); err != nil {
			return err
		}
	}
}

func moments(query url.Values, since, until string) error {
	for key, text := range map[string]string{"since": since, "until": until} {
		if text == "" {
			continue
		}
		moment, err := option.Timestamp(text, time.Now())
		if err != nil {
			return fmt.Errorf("invalid value for %q: %w", key, err)
		}
		query.Set(key, moment)
	}
	return nil
}

func eventWriter(out io.Writer, text string) (func(json.RawMessage) error, error) {
	if text == "json" {
		return func(raw json.RawMessage) error {
			_, err := out.Write(append(raw, '\n'))
			return err
		}, nil
	}
	show := func(e events.Message) error { _, err := io.WriteString(out, eventLine(e)+"\n"); return err }
	if text != "" {
		tmpl, err := format.Parse(text)
		if err != nil {
			return nil, err
		}
		show = func(e events.Message) error {
			if err := tmpl.Execute(out, e); err != nil {
				return err
			}
			_, err := io.WriteString(out, "\n")
			return err
		}
	}
	return func(raw json.RawMessage) error {
		var e events.Message
		if err := json.Unmarshal(raw, &e); err != nil {
			return err
		}
		return show(e)
	}, nil
}

// eventLine is `time type action ID (attribute=value, …)`.
func eventLine(e events.Message) string {
	var b strings.Builder
	const layout = "2006-01-02T15:04:05.000000000Z07:00"
	switch {
	case e.TimeNano != 0:
		b.WriteString(time.Unix(0, e.TimeNano).Format(layout))
		b.WriteByte(' ')
	case e.Time != 0:
		b.WriteString(time.Unix(e.Time, 0).Format(layout))
		b.WriteByte(' ')
	}
	fmt.Fprintf(&b, "%s %s %s", e.Type, e.Action, e.Actor.ID)
	if len(e.Actor.Attributes) == 0 {
		return b.String()
	}
	keys := make([]string, 0, len(e.Actor.Attributes))
	for key := range e.Actor.Attributes {
		keys = append(keys, key)
	}
	sort.Strings(keys)
	pairs := make([]string, len(keys))
	for i, key := range keys {
		pairs[i] = key + "=" + e.Actor.Attributes[key]
	}
	return b.String() + " (" + strings.Join(pairs, ", ") + ")"
}
