// Package payload makes what the bench hands to engines: a root file system, a large image, the context of a build.
package payload

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/berth-engine/berth/bench/measure"
)

// Rootfs writes a root file system of the machine's static busybox and its command names.
func Rootfs(ctx context.Context, dir string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return errors.New("busybox is not installed: it is what the containers of the bench run (Debian: apt-get install busybox-static)")
	}
	if static, err := measure.IsStatic(busybox); err != nil {
		return err
	} else if !static {
		return fmt.Errorf("%s is not static, so it runs in no container (Debian: apt-get install busybox-static)", busybox)
	}
	list, err := exec.CommandContext(ctx, busybox, "--list-full").Output()
	if err != nil {
		return fmt.Errorf("busybox --list-full: %w", err)
	}
	for _, name := range []string{"bin", "sbin", "usr/bin", "usr/sbin", "etc", "proc", "sys", "dev", "tmp", "root", "home"} {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return err
		}
	}
	if err := CopyFile(filepath.Join(dir, "bin/busybox"), busybox); err != nil {
		return err
	}
	for name := range strings.Lines(string(list)) {
		link := filepath.Join(dir, filepath.Clean("/"+strings.TrimSpace(name)))
		if err := os.MkdirAll(filepath.Dir(link), 0o755); err != nil {
			return err
		}
		if err := os.Symlink("/bin/busybox", link); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	files := map[string]string{"etc/passwd": "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/home:/bin/false\n", "etc/group": "root:x:0:\nnogroup:x:65534:\n"}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// CopyFile copies a program.
func CopyFile(target, source string) error {
	in, err := os.Open(source)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(target, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// TarDir writes a directory as a tar of files that root owns.
func TarDir(w io.Writer, dir string) error {
	out := tar.NewWriter(w)
	if err := out.AddFS(os.DirFS(dir)); err != nil {
		return err
	}
	return out.Close()
}

// Image writes an image of several layers, which nobody has seen before, as a docker-archive. About half of it is
// incompressible, as binaries in compressed packages are, and half of it text; one layer is of many small files.
func Image(file, reference string, megabytes int, seed uint64) error {
	share := int64(megabytes) * 1_000_000 / 20
	layers := []func(*tar.Writer, *source) error{
		func(t *tar.Writer, g *source) error { return writeFiles(t, g, "random", 4, share*6/4, g.random) },
		func(t *tar.Writer, g *source) error { return writeFiles(t, g, "text", 8, share*5/8, g.text) },
		func(t *tar.Writer, g *source) error { return writeFiles(t, g, "small", 4000, share/4000, g.text) },
		func(t *tar.Writer, g *source) error { return writeFiles(t, g, "more", 40, share*4/40, g.random) },
		func(t *tar.Writer, g *source) error { return writeFiles(t, g, "books", 4, share*4/4, g.text) },
		func(t *tar.Writer, g *source) error { return writeFiles(t, g, "last", 1, 1000, g.text) },
	}
	archive, err := os.Create(file)
	if err != nil {
		return err
	}
	out := tar.NewWriter(archive)
	err = writeArchive(out, file+".layer", reference, layers, newSource(seed))
	return errors.Join(err, out.Close(), archive.Close(), os.Remove(file+".layer"))
}

// writeArchive writes layers, configuration and manifest in the format of "docker save".
func writeArchive(out *tar.Writer, scratch, reference string, layers []func(*tar.Writer, *source) error, g *source) error {
	var diffs, paths []string
	for _, layer := range layers {
		digest, err := writeLayer(scratch, layer, g)
		if err != nil {
			return err
		}
		name := digest + "/layer.tar"
		if err := addFile(out, name, scratch); err != nil {
			return err
		}
		diffs, paths = append(diffs, "sha256:"+digest), append(paths, name)
	}
	config, err := json.Marshal(map[string]any{
		"architecture": runtime.GOARCH, "os": "linux", "config": map[string]any{"Cmd": []string{"/bin/true"}},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffs},
	})
	if err != nil {
		return err
	}
	sum := sha256.Sum256(config)
	name := hex.EncodeToString(sum[:]) + ".json"
	manifest, err := json.Marshal([]map[string]any{{"Config": name, "RepoTags": []string{reference}, "Layers": paths}})
	if err != nil {
		return err
	}
	return errors.Join(addBytes(out, name, config), addBytes(out, "manifest.json", manifest))
}

// writeLayer writes one layer into the scratch file and returns its digest in hexadecimal.
func writeLayer(scratch string, layer func(*tar.Writer, *source) error, g *source) (string, error) {
	file, err := os.Create(scratch)
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	t := tar.NewWriter(io.MultiWriter(file, sum))
	if err := errors.Join(layer(t, g), t.Close(), file.Close()); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func addFile(out *tar.Writer, name, file string) error {
	in, err := os.Open(file)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: info.Size()}); err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return err
}

func addBytes(out *tar.Writer, name string, data []byte) error {
	if err := out.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(data))}); err != nil {
		return err
	}
	_, err := out.Write(data)
	return err
}

// writeFiles writes files of one size into a directory of their own.
func writeFiles(t *tar.Writer, g *source, dir string, count int, size int64, content func([]byte)) error {
	if err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}); err != nil {
		return err
	}
	for i := range count {
		if err := t.WriteHeader(&tar.Header{Name: path.Join(dir, fmt.Sprint(i)), Mode: 0o644, Size: size}); err != nil {
			return err
		}
		for left := size; left > 0; {
			block := g.block[:min(left, int64(len(g.block)))]
			content(block)
			if _, err := t.Write(block); err != nil {
				return err
			}
			left -= int64(len(block))
		}
	}
	return nil
}

// source makes data that is the same for the same seed.
type source struct {
	chacha *rand.ChaCha8
	words  [][]byte
	block  []byte
}

func newSource(seed uint64) *source {
	var key [32]byte
	copy(key[:], fmt.Sprintf("%032d", seed))
	g := &source{chacha: rand.NewChaCha8(key), block: make([]byte, 1<<20)}
	letters := rand.New(g.chacha)
	for range 4096 {
		word := make([]byte, 2+letters.IntN(9))
		for i := range word {
			word[i] = 'a' + byte(letters.IntN(26))
		}
		g.words = append(g.words, word)
	}
	return g
}

// random fills b with what can't be compressed. It never fails (math/rand/v2).
func (g *source) random(b []byte) { _, _ = g.chacha.Read(b) }

// text fills b with words.
func (g *source) text(b []byte) {
	for len(b) > 0 {
		draw := g.chacha.Uint64()
		for i := 0; i < 5 && len(b) > 0; i++ {
			n := copy(b, g.words[draw&4095])
			b, draw = b[n:], draw>>12
			if len(b) > 0 {
				b[0], b = ' ', b[1:]
			}
		}
	}
}

// Steps makes the files of a build of ten steps that no cache can know, since the seed is in every file.
func Steps(seed uint64) map[string][]byte {
	files := map[string][]byte{}
	g := newSource(seed)
	var steps bytes.Buffer
	for i := range 5 {
		data := make([]byte, 100_000)
		g.text(data)
		files[fmt.Sprintf("f%d", i)] = data
		fmt.Fprintf(&steps, "COPY f%d /f%d\n", i, i)
		if i < 4 {
			fmt.Fprintf(&steps, "RUN wc -c /f%d > /o%d\n", i, i)
		}
	}
	steps.WriteString("RUN cat /proc/sys/kernel/random/uuid > /uuid && cat /o3\n") // tells whether the step ran again
	files["Dockerfile"] = steps.Bytes()
	return files
}

// WriteContext writes a build context as a directory.
func WriteContext(dir, base string, files map[string][]byte) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for name, data := range fullContext(base, files) {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// fullContext puts the base image's name, which differs among engines, before the steps.
func fullContext(base string, files map[string][]byte) map[string][]byte {
	full := map[string][]byte{}
	for name, data := range files {
		full[name] = data
	}
	full["Dockerfile"] = append([]byte("FROM "+base+"\n"), files["Dockerfile"]...)
	return full
}

// TarContext writes a build context as a tar.
func TarContext(base string, files map[string][]byte) (*bytes.Reader, error) {
	var b bytes.Buffer
	out := tar.NewWriter(&b)
	for name, data := range fullContext(base, files) {
		if err := addBytes(out, name, data); err != nil {
			return nil, err
		}
	}
	if err := out.Close(); err != nil {
		return nil, err
	}
	return bytes.NewReader(b.Bytes()), nil
}
