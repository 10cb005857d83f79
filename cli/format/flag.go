package format

import "github.com/spf13/pflag"

// Flag declares --format and --json, which means the same as `--format json`.
func Flag(f *pflag.FlagSet, text *string, asJSON *bool) {
	f.StringVar(text, "format", "", `Format output: "table", "table TEMPLATE", "json", or a Go template`)
	f.BoolVar(asJSON, "json", false, "Print JSON, as --format json does")
}

// InspectFlag is Flag for commands whose normal output is JSON already; -f is short for it there.
func InspectFlag(f *pflag.FlagSet, text *string, asJSON *bool) {
	f.StringVarP(text, "format", "f", "", `Format output: "json", or a Go template`)
	f.BoolVar(asJSON, "json", false, "Print JSON in one line, as --format json does")
}
