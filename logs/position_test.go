package logs

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzBackwards compares what is found from the end of a file with what is found from its beginning.
func FuzzBackwards(f *testing.F) {
	for _, seed := range []string{"", "\n", "\n\n", "a", "a\n", "a\nb", "a\n\nb\n", "\na\n\n\nbc", "a\nb\nc\n"} {
		f.Add([]byte(seed), uint8(1))
		f.Add(append(bytes.Repeat([]byte{'x'}, chunk-1), seed...), uint8(2))
	}
	path := filepath.Join(f.TempDir(), "log")
	f.Fuzz(func(t *testing.T, content []byte, n uint8) {
		if n == 0 {
			return // no record is asked for: nothing is looked for either
		}
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		var begins []int64
		at := int64(0)
		for line := range bytes.Lines(content) {
			if line[len(line)-1] == '\n' && len(line) > 1 {
				begins = append(begins, at)
			}
			at += int64(len(line))
		}
		want, offset := len(begins), int64(0)
		if want >= int(n) {
			want, offset = int(n), begins[len(begins)-int(n)]
		}
		found, got, err := backwards(file, int64(len(content)), int(n))
		if err != nil || found != want || found == int(n) && got != offset {
			t.Errorf("%q: %d records from %d on, want %d from %d on (%v)", content, found, got, want, offset, err)
		}
	})
}
