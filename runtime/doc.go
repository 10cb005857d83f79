// Package runtime is the organ that runs containers' processes. It turns a container into an OCI spec (spec.go, pure),
// hands it with the open files it needs to a shim out of a warm pool, and passes on what shims tell.
//
// It implements the engine's ports Runtime, Console and Meter. The shims do the work and outlive the daemon; Adopt
// finds them again.
package runtime
