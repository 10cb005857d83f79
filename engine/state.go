package engine

import "github.com/berth-engine/berth/core"

// The states of a container and the verbs that lead from one to another:
//
//	            create            start              exit / kill / stop
//	(nothing) ────────▶ created ────────▶ running ─────────────────────▶ exited
//	                       │                │  ▲ ▲                        │  │ ▲
//	                       │          pause │  │ │ start again            │  │ │ policy given up
//	                       │                ▼  │ └────────────────────────┘  │ │ or stop
//	                       │             paused (unpause)      policy says so ▼ │
//	                       │                                           restarting
//	                       └──────────▶ removing ◀──── remove ───────────────┘
//	                                       │
//	                                       ▼
//	                                   (nothing), or dead when a part could not be removed
//
// legal[from] lists where a container may go. A move that is not listed is a bug of the engine, not of a user.
var legal = map[core.Status][]core.Status{
	core.StatusCreated:    {core.StatusRunning, core.StatusExited, core.StatusRemoving},
	core.StatusRunning:    {core.StatusPaused, core.StatusExited, core.StatusRestarting, core.StatusRunning},
	core.StatusPaused:     {core.StatusRunning, core.StatusExited, core.StatusRestarting},
	core.StatusRestarting: {core.StatusRunning, core.StatusExited, core.StatusRestarting, core.StatusRemoving},
	core.StatusExited:     {core.StatusRunning, core.StatusRemoving, core.StatusRestarting, core.StatusExited},
	core.StatusRemoving:   {core.StatusDead},
	core.StatusDead:       {core.StatusRemoving},
}

// mayBecome reports whether the diagram has an arrow.
func mayBecome(from, to core.Status) bool {
	for _, s := range legal[from] {
		if s == to {
			return true
		}
	}
	return false
}

// move puts the container into another state.
func move(c *core.Container, to core.Status) {
	if !mayBecome(c.State.Status, to) {
		panic("engine: container " + string(c.ID) + " can't go from " + string(c.State.Status) + " to " + string(to))
	}
	c.State.Status = to
}
