// Package version says which build this is. The linker fills the variables in (see the Makefile).
package version

var (
	// Version is the release: "0.1.0", or "dev" for a build of a working copy.
	Version = "dev"
	// Commit is the short hash of what was built.
	Commit = "unknown"
	// Built is when, in RFC 3339.
	Built = "unknown"
)
