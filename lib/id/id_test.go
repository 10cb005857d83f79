package id

import (
	"regexp"
	"slices"
	"testing"
)

func TestNew(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[0-9a-f]{64}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := New()
		if !form.MatchString(id) || seen[id] {
			t.Fatalf("ID %q is invalid or not new", id)
		}
		seen[id] = true
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	word := regexp.MustCompile(`^[a-z]+$`)
	for _, list := range [][]string{adjectives[:], surnames[:]} {
		for i, w := range list {
			if !word.MatchString(w) || slices.Contains(list[:i], w) {
				t.Errorf("%q is no plain word or listed twice", w)
			}
		}
	}
	if n := len(adjectives) * len(surnames); n < 5000 {
		t.Errorf("only %d names", n)
	}
	if !regexp.MustCompile(`^[a-z]+_[a-z]+$`).MatchString(Name()) {
		t.Error("a name of another form")
	}
}
