package core

import (
	"os"
	"time"
)

// Launch is everything that is needed to start a container's first process.
type Launch struct {
	Container *Container
	Root      []FSMount // of the root file system
	NetNS     *os.File  // the network namespace, open; nil: the host's. Launch does not close it.
	Mounts    []FSMount // in order; Target is a path inside the container
	Env       []string  // complete, with PATH, HOSTNAME, TERM, HOME left to the runtime
	// JoinPID, JoinIPC are containers whose namespaces are shared, by the PID of their first process; 0: none.
	JoinPID, JoinIPC int
	LogPath          string
}

// Started is the answer to a Launch or an exec.
type Started struct {
	PID int
	At  time.Time
}

// Exit is how a container's first process (Exec empty) or a further one ended.
type Exit struct {
	Container ContainerID
	Exec      ExecID
	Status    ExitStatus
}

// Adopted is what the runtime found of a container when the daemon came back.
type Adopted struct {
	Container ContainerID
	PID       int // of the first process; 0: it ended meanwhile
	StartedAt time.Time
	Paused    bool
	Exit      *ExitStatus // set when it ended while nobody looked
}
