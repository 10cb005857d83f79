package payload

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestAnImageIsWhatDockerSaveWrites(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "big.tar")
	if err := Image(file, "localhost/x/big:latest", 2, 1); err != nil {
		t.Fatal(err)
	}
	entries := readTar(t, file)
	var manifest []struct {
		Config   string
		RepoTags []string
		Layers   []string
	}
	if err := json.Unmarshal(entries["manifest.json"], &manifest); err != nil {
		t.Fatal(err)
	}
	var config struct {
		RootFS struct {
			DiffIDs []string `json:"diff_ids"`
		} `json:"rootfs"`
	}
	if err := json.Unmarshal(entries[manifest[0].Config], &config); err != nil {
		t.Fatal(err)
	}
	total := 0
	for i, layer := range manifest[0].Layers {
		sum := sha256.Sum256(entries[layer])
		if got := "sha256:" + hex.EncodeToString(sum[:]); got != config.RootFS.DiffIDs[i] {
			t.Errorf("layer %d is %s, the configuration says %s", i, got, config.RootFS.DiffIDs[i])
		}
		total += len(entries[layer])
	}
	if len(manifest[0].Layers) != 6 || manifest[0].RepoTags[0] != "localhost/x/big:latest" {
		t.Errorf("got %+v", manifest)
	}
	if total < 1_500_000 || total > 8_000_000 { // 4,000 headers of small files weigh more than what is in them here
		t.Errorf("%d bytes", total)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// readTar holds all entries in memory.
func readTar(t *testing.T, file string) map[string][]byte {
	t.Helper()
	in, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	entries := map[string][]byte{}
	for reader := tar.NewReader(in); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return entries
		}
		if err != nil {
			t.Fatal(err)
		}
		if entries[header.Name], err = io.ReadAll(reader); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDataIsTheSameForTheSameSeedOnly(t *testing.T) {
	t.Parallel()
	text := func(seed uint64) []byte {
		b := make([]byte, 100_000)
		newSource(seed).text(b)
		return b
	}
	if !bytes.Equal(text(1), text(1)) || bytes.Equal(text(1), text(2)) {
		t.Error("seeds do not decide")
	}
	random := make([]byte, 100_000)
	newSource(1).random(random)
	if a, b := squeezed(t, text(1)), squeezed(t, random); a > 70_000 || b < 100_000 {
		t.Errorf("text shrinks to %d bytes, random data to %d", a, b)
	}
}

func squeezed(t *testing.T, data []byte) int {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Len()
}

func TestABuildHasTenSteps(t *testing.T) {
	t.Parallel()
	files := Steps(3)
	dir := t.TempDir()
	if err := WriteContext(dir, "localhost/x/busybox", files); err != nil {
		t.Fatal(err)
	}
	dockerfile, err := os.ReadFile(filepath.Join(dir, "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(dockerfile)), "\n")
	if len(lines) != 11 || lines[0] != "FROM localhost/x/busybox" {
		t.Errorf("got %q", lines)
	}
	context, err := TarContext("localhost/x/busybox", files)
	if err != nil || context.Len() < 500_000 {
		t.Errorf("%v, %v", context, err)
	}
}
