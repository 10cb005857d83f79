// Package wire is the language between the runtime organ and its shims: small JSON messages, each behind a length,
// on a UNIX socket, with open files beside them where a message needs some (SCM_RIGHTS, unix(7)).
//
// The runtime asks with a number (Seq) and the shim answers with the same number; what happens by itself (Exit,
// Detached) has none. Every message names its container.
//
// A shim has one connection to the daemon that started it, for what is about the shim as a whole (Prepare, Converse), and
// one for each container that it serves.
package wire

import (
	"time"

	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/core/logopt"
)

// Message is one message. Exactly one of the pointers is set.
type Message struct {
	Seq       uint64           `json:"seq,omitempty"`
	Container core.ContainerID `json:"container,omitempty"`
	// Process is a further process of the container; empty: the first one.
	Process core.ExecID `json:"process,omitempty"`

	Prepare  *Prepare  `json:"prepare,omitempty"`
	Converse *Converse `json:"converse,omitempty"`

	Start  *Start  `json:"start,omitempty"`
	Exec   *Exec   `json:"exec,omitempty"`
	Attach *Attach `json:"attach,omitempty"`
	Resize *Resize `json:"resize,omitempty"`
	Signal *Signal `json:"signal,omitempty"`
	Freeze *Freeze `json:"freeze,omitempty"`
	Update *Update `json:"update,omitempty"`
	Delete *Delete `json:"delete,omitempty"`
	Ask    *Ask    `json:"ask,omitempty"`
	Noted  *Noted  `json:"noted,omitempty"`

	Reply    *Reply    `json:"reply,omitempty"`
	Exit     *Exit     `json:"exit,omitempty"`
	Detached *Detached `json:"detached,omitempty"`
}

// Prepare tells an idle shim what it will probably need: the seccomp profile whose program it compiles or loads.
type Prepare struct {
	Seccomp *specs.LinuxSeccomp `json:"seccomp,omitempty"`
	Cache   string              `json:"cache,omitempty"`
}

// Converse opens the conversation about one more container. Its file: the shim's end of the connection.
type Converse struct{}

// Start runs the container's first process. Its files: the network namespace when NetNS is set, then one connection
// for each Attach.
type Start struct {
	Spec *specs.Spec    `json:"spec"`
	Root []core.FSMount `json:"root"`
	// Parts are mounted before the spec's mounts, below Dir: the spec finds them at PartsName/0, PartsName/1, …
	Parts []Part `json:"parts,omitempty"`
	// Who is looked up in the image's passwd and group.
	Who   Who  `json:"who"`
	NetNS bool `json:"netns,omitempty"`
	// ShareIPC is the process whose /dev/shm the container sees too; 0: none.
	ShareIPC int     `json:"share_ipc,omitempty"`
	Streams  Streams `json:"streams"`
	// Log is where output goes besides the clients; nil: nowhere.
	Log    *logopt.Plan `json:"log,omitempty"`
	Attach []Attach     `json:"attach,omitempty"`
	// Dir is the shim's folder: socket, exit record, root file system. Cache keeps compiled seccomp programs.
	Dir   string `json:"dir"`
	Cache string `json:"cache,omitempty"`
	// HostMounts: the shim lives in the host's mount namespace and must unmount the root itself.
	HostMounts bool `json:"host_mounts,omitempty"`
	// Program is the OCI runtime that runs the container; nil: libcontainer in the shim.
	Program *Program `json:"program,omitempty"`
	// Init runs the shim's binary, which the spec mounts at InitPath, as a small init in front of the command.
	Init bool `json:"init,omitempty"`
}

// Program is an OCI runtime that is a program of its own.
type Program struct {
	Path string   `json:"path"`
	Args []string `json:"args,omitempty"` // before every command
}

// Part is what is mounted of an image (Below), or of a folder: all of it, or what Subpath names without leaving it.
type Part struct {
	Below   []core.FSMount `json:"below,omitempty"`
	Source  string         `json:"source,omitempty"`
	Subpath string         `json:"subpath,omitempty"`
}

// Who says as whom a process runs.
type Who struct {
	User   string   `json:"user,omitempty"`   // name, uid, name:group, uid:gid
	Groups []string `json:"groups,omitempty"` // further groups, by name or number
}

// Streams says what a process's standard streams are.
type Streams struct {
	Terminal      bool `json:"terminal,omitempty"`
	Height, Width uint `json:",omitempty"`
	OpenStdin     bool `json:"open_stdin,omitempty"`
	StdinOnce     bool `json:"stdin_once,omitempty"`
}

// Exec runs a further process. Its file: the connection of Attach, when there is one.
type Exec struct {
	Process *specs.Process `json:"process"`
	Who     Who            `json:"who"`
	Streams Streams        `json:"streams"`
	Attach  *Attach        `json:"attach,omitempty"`
}

// Attach connects a client. Its file: the client's connection.
type Attach struct {
	Number     uint64 `json:"number"` // chosen by the runtime, named again in Detached
	Stdin      bool   `json:"stdin,omitempty"`
	Stdout     bool   `json:"stdout,omitempty"`
	Stderr     bool   `json:"stderr,omitempty"`
	Framed     bool   `json:"framed,omitempty"`
	DetachKeys []byte `json:"detach_keys,omitempty"`
	Early      []byte `json:"early,omitempty"`
}

// Resize sets the size of a terminal, in characters.
type Resize struct {
	Height, Width uint
}

// Signal sends a signal.
type Signal struct {
	Number int `json:"number"`
}

// Freeze pauses the container, or with Frozen false lets it go on.
type Freeze struct {
	Frozen bool `json:"frozen"`
}

// Update changes limits.
type Update struct {
	Resources *specs.LinuxResources `json:"resources"`
}

// Delete ends what is left of the container and, after the answer, the conversation.
type Delete struct{}

// Noted answers the Exit of a further process: the daemon has it, and would tell whoever asks.
type Noted struct{}

// Ask asks for the State.
type Ask struct{}

// Reply answers a request. Error empty: done.
type Reply struct {
	Error string    `json:"error,omitempty"`
	Kind  Kind      `json:"kind,omitempty"`
	PID   int       `json:"pid,omitempty"`
	At    time.Time `json:"at,omitzero"`
	State *State    `json:"state,omitempty"`
}

// Kind is the sort of an error.
type Kind string

// The kinds of errors that the runtime tells apart.
const (
	KindInternal Kind = ""        // the fault is ours or the machine's
	KindInvalid  Kind = "invalid" // the user asked for what can't be: a sentence as it is
	KindCreate   Kind = "create"  // the OCI part of a start failed: gets Docker's prefix
	KindLog      Kind = "log"     // the log driver could not be made ready: gets Docker's prefix
	KindExec     Kind = "exec"    // the OCI part of an exec failed: gets Docker's prefix
	KindGone     Kind = "gone"    // the process is not there any more
)

// State is what a shim knows of its container.
type State struct {
	PID    int       `json:"pid"`
	At     time.Time `json:"at"`
	Paused bool      `json:"paused,omitempty"`
	Exit   *Exit     `json:"exit,omitempty"` // set when the first process ended
	// Processes are the further ones that run.
	Processes []core.ExecID `json:"processes,omitempty"`
	// CgroupPaths by controller; on cgroup v2 the only key is "".
	CgroupPaths map[string]string `json:"cgroups,omitempty"`
}

// Exit is how a process ended.
type Exit struct {
	Code      int       `json:"code"`
	OOMKilled bool      `json:"oom_killed,omitempty"`
	At        time.Time `json:"at"`
}

// Detached says that an attachment is over.
type Detached struct {
	Number uint64 `json:"number"`
}

// SocketName is the shim's socket in its folder, ExitName its exit record (an Exit as JSON), StateName the State at
// the start, for when the shim itself dies.
const (
	SocketName = "shim.sock"
	ExitName   = "exit.json"
	StateName  = "state.json"
)

// PartsName is the folder of a shim's folder in which parts of images and volumes are mounted.
const PartsName = "parts"

// InitPath is where `--init` shows the shim's binary in a container. The name is what ps shows with Docker.
const InitPath = "/sbin/docker-init"
