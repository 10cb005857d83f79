// Package image holds the commands about images: one file per command or small family.
package image
