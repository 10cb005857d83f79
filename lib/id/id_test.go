package id

import (
	"regexp"
	"slices"
	"testing"
)

func TestNew(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		id := New()
		if !Valid(id) || seen[id] {
			t.Fatalf("ID %q is invalid or not new", id)
		}
		seen[id] = true
	}
}

func TestValid(t *testing.T) {
	t.Parallel()
	good := New()
	for name, bad := range map[string]string{
		"nothing":        "",
		"too short":      good[1:],
		"too long":       good + "0",
		"upper case":     "A" + good[1:],
		"a path":         "../" + good[3:],
		"a line feed":    good[1:] + "\n",
		"a letter above": "g" + good[1:],
	} {
		if Valid(bad) {
			t.Errorf("%s: %q passes for an ID", name, bad)
		}
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
