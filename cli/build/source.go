package build

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/moby/buildkit/session"
	"github.com/moby/buildkit/session/upload/uploadprovider"
	"github.com/tonistiigi/fsutil"
)

// source is where the build's files come from.
type source struct {
	attrs  map[string]string
	mounts map[string]fsutil.FS
	// shared names the context, so that the daemon can update its last copy instead of taking a new one.
	shared string
	attach []session.Attachable
	temp   string // a folder of ours to remove; empty: none
}

// close removes what was made for the build.
func (s *source) close() error {
	if s.temp == "" {
		return nil
	}
	return os.RemoveAll(s.temp)
}

// findSource finds context and Dockerfile: a folder, a URL, or standard input that is a tar or a Dockerfile.
func findSource(where, file string, stdin io.Reader) (_ *source, err error) {
	s := &source{attrs: map[string]string{}, mounts: map[string]fsutil.FS{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.close())
		}
	}()
	switch {
	case where == "-" && file == "-":
		return s, errors.New("invalid argument: can't use stdin for both build context and dockerfile")
	case where == "-":
		return s, s.stdin(stdin, file)
	case isURL(where):
		s.attrs["context"] = where
		if file == "-" {
			return s, s.dockerfile(stdin)
		}
		if file != "" {
			s.attrs["filename"] = file
		}
		return s, nil
	}
	info, err := os.Stat(where)
	if err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return s, fmt.Errorf("unable to prepare context: path %q not found", where)
		}
		return s, fmt.Errorf("unable to prepare context: %w", err)
	}
	if !info.IsDir() {
		return s, fmt.Errorf("unable to prepare context: path %q is not a directory", where)
	}
	if s.mounts["context"], err = fsutil.NewFS(where); err != nil {
		return s, fmt.Errorf("unable to prepare context: %w", err)
	}
	s.shared = sharedKey(where)
	if file == "-" {
		return s, s.dockerfile(stdin)
	}
	return s, s.local(where, file)
}

// local finds the Dockerfile of a folder: beside us, else in the context.
func (s *source) local(where, file string) error {
	path := filepath.Join(where, "Dockerfile")
	switch {
	case file == "":
		if _, err := os.Lstat(path); errors.Is(err, os.ErrNotExist) {
			if lower := filepath.Join(where, "dockerfile"); exists(lower) {
				path = lower
			}
		}
	case isURL(file):
		return fmt.Errorf("a Dockerfile from a URL is not supported: fetch %s first", file)
	default:
		path = file
		if inside := filepath.Join(where, file); !filepath.IsAbs(file) && !exists(path) && exists(inside) {
			path = inside
		}
	}
	if _, err := os.Stat(path); err != nil {
		return fmt.Errorf("failed to read dockerfile: %w", err)
	}
	folder, err := fsutil.NewFS(filepath.Dir(path))
	if err != nil {
		return fmt.Errorf("failed to read dockerfile: %w", err)
	}
	s.mounts["dockerfile"] = folder
	s.attrs["filename"] = filepath.Base(path)
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// stdin takes standard input for a tar, compressed or not, that is sent on as it is, or else for a Dockerfile that needs
// no files.
func (s *source) stdin(in io.Reader, file string) error {
	buffered := bufio.NewReaderSize(in, 4096)
	begin, err := buffered.Peek(512)
	if err != nil && err != io.EOF {
		return fmt.Errorf("failed to peek context header from STDIN: %w", err)
	}
	if !isArchive(begin) {
		if file != "" {
			return errors.New("ambiguous Dockerfile source: both stdin and flag correspond to Dockerfiles")
		}
		if err := s.dockerfile(buffered); err != nil {
			return err
		}
		empty := filepath.Join(s.temp, "context")
		if err := os.Mkdir(empty, 0o700); err != nil {
			return err
		}
		s.mounts["context"], err = fsutil.NewFS(empty)
		return err
	}
	uploads := uploadprovider.New()
	s.attrs["context"] = uploads.Add(io.NopCloser(buffered))
	s.attach = append(s.attach, uploads)
	if file != "" {
		s.attrs["filename"] = file
	}
	return nil
}

// dockerfile keeps a Dockerfile from a stream in a folder of its own.
func (s *source) dockerfile(in io.Reader) error {
	temp, err := os.MkdirTemp("", "berth-build-")
	if err != nil {
		return err
	}
	s.temp = temp
	content, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("failed to read Dockerfile from STDIN: %w", err)
	}
	if len(bytes.TrimSpace(content)) == 0 {
		return errors.New("the Dockerfile on stdin is empty")
	}
	folder := filepath.Join(temp, "dockerfile")
	if err := os.Mkdir(folder, 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "Dockerfile"), content, 0o600); err != nil {
		return err
	}
	s.attrs["filename"] = "Dockerfile"
	if s.attrs["context"] != "" {
		// The context is elsewhere: the Dockerfile is named as a source of its own.
		s.attrs["dockerfilekey"] = "dockerfile"
	}
	s.mounts["dockerfile"], err = fsutil.NewFS(folder)
	return err
}

// named adds the further contexts of --build-context.
func (s *source) named(contexts []string) error {
	for _, flag := range contexts {
		name, where, ok := strings.Cut(flag, "=")
		if !ok || name == "" {
			return fmt.Errorf("invalid context value: %s, expected key=value", flag)
		}
		key := "context:" + name
		switch {
		case isURL(where), strings.HasPrefix(where, "docker-image://"), strings.HasPrefix(where, "target:"):
			s.attrs[key] = where
		case strings.HasPrefix(where, "oci-layout://"):
			return fmt.Errorf("build context %q: OCI layouts are not supported: load the image and name it with docker-image://", name)
		default:
			folder, err := fsutil.NewFS(where)
			if err != nil {
				return fmt.Errorf("failed to get build context %s: %w", name, err)
			}
			s.mounts[name] = folder
			s.attrs[key] = "local:" + name
		}
	}
	return nil
}

// isURL knows the forms of a context elsewhere.
func isURL(where string) bool {
	if strings.HasPrefix(where, "git@") || strings.HasPrefix(where, "github.com/") {
		return true
	}
	parsed, err := url.Parse(where)
	if err != nil || parsed.Host == "" {
		return false
	}
	switch parsed.Scheme {
	case "http", "https", "git", "ssh":
		return true
	}
	return false
}

// isArchive knows tar by the mark in its first header, and gzip, bzip2, xz and zstd by theirs.
func isArchive(begin []byte) bool {
	for _, magic := range [][]byte{{0x1f, 0x8b, 0x08}, []byte("BZh"), {0xfd, '7', 'z', 'X', 'Z', 0}, {0x28, 0xb5, 0x2f, 0xfd}} {
		if bytes.HasPrefix(begin, magic) {
			return true
		}
	}
	return len(begin) >= 262 && bytes.Equal(begin[257:262], []byte("ustar"))
}

// sharedKey names a folder on this machine.
func sharedKey(where string) string {
	path, err := filepath.Abs(where)
	if err != nil {
		path = where
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	sum := sha256.Sum256([]byte(host + "\x00" + path))
	return filepath.Base(path) + ":" + hex.EncodeToString(sum[:16])
}
