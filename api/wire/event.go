package wire

import (
	"github.com/moby/moby/api/types/events"

	"github.com/berth-engine/berth/core"
)

// Event shows something that happened (GET /events). ok is false for what the version does not know.
func Event(e core.Event, version Version) (shape any, ok bool) {
	message := events.Message{
		Type:     events.Type(e.Type),
		Action:   events.Action(e.Action),
		Actor:    events.Actor{ID: e.ID, Attributes: notNil(e.Attributes)},
		Scope:    "local",
		Time:     e.Time.Unix(),
		TimeNano: e.Time.UnixNano(),
	}
	if version.Before(46) && message.Type == events.ImageEventType && message.Action == events.ActionCreate {
		return nil, false
	}
	return legacyEvent(message, version), true
}
