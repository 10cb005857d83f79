// Package container holds the commands about containers: one file per command, with its options, flags and run.
package container
