package image

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/containerd/errdefs"

	"github.com/berth-engine/berth/core"
	"github.com/berth-engine/berth/image/archive"
	"github.com/berth-engine/berth/image/names"
)

// Load reads images from a tar: what docker save writes, old or new, or an OCI layout; compressed or not. The stream
// is read once: what may be a blob goes into the content store as it comes, and at the end the archive's own tables
// say what it was. Names are given last, so that a bad archive leaves nothing.
func (t *Transfers) Load(ctx context.Context, r io.Reader, platform core.Platform, quiet bool, progress core.ProgressFunc) (err error) {
	o := t.o
	ctx = o.context(ctx)
	report := newReporter(progress)
	leased, done, err := o.lease(ctx)
	if err != nil {
		return err
	}
	defer func() {
		done()
		if err != nil {
			o.gc.soon()
		}
	}()
	entries, err := o.archives.Read(leased, r)
	if err != nil {
		return archiveError(err)
	}
	for _, entry := range entries {
		if err := t.loadEntry(leased, entry, platform, quiet, report); err != nil {
			return archiveError(err)
		}
	}
	return nil
}

func isOurs(err error) bool {
	_, ours := errors.AsType[*core.Error](err)
	return ours
}

// archiveError gives a class to what is wrong with an archive.
func archiveError(err error) error {
	if errors.Is(err, context.Canceled) || isOurs(err) {
		return err
	}
	if errdefs.IsNotFound(err) || errors.Is(err, io.ErrUnexpectedEOF) {
		return core.Invalid("the archive is damaged or incomplete: %w", err)
	}
	return err
}

// loadEntry checks, unpacks and names one image.
func (t *Transfers) loadEntry(ctx context.Context, e archive.Entry, platform core.Platform, quiet bool, report *reporter) error {
	o := t.o
	p, err := o.read(ctx, e.Target, platform)
	if err != nil {
		return err
	}
	gone, err := o.missing(ctx, p)
	if err != nil {
		return err
	}
	if gone != "" {
		return core.Invalid("the archive is incomplete: content %s of image %s is missing, or does not have that digest", gone, e.Target.Digest)
	}
	watch := unpackWatch{}
	if !quiet {
		watch.progress = func(layer int, current int64) {
			report.count(short(p.diffIDs[layer]), "Loading layer", current, p.layers[layer].Size)
		}
	}
	replaced, err := o.adopt(ctx, p, e.Names, watch)
	if err != nil {
		return err
	}
	for _, name := range e.Names {
		if before, existed := replaced[name]; existed && before != e.Target.Digest {
			report.emit(core.Progress{Stream: fmt.Sprintf("The image %s already exists, renaming the old one with ID %s to empty string\n", names.Familiar(name), before)})
		}
		report.emit(core.Progress{Stream: "Loaded image: " + names.Familiar(name) + "\n"})
	}
	if len(e.Names) == 0 {
		report.emit(core.Progress{Stream: "Loaded image ID: " + e.Target.Digest.String() + "\n"})
	}
	o.event(ctx, "load", e.Target.Digest.String(), e.Target.Digest.String(), e.Target)
	return nil
}
