package proc

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"testing"
)

// TestSpare changes the score of this process, and gives it back.
func TestSpare(t *testing.T) {
	const file = "/proc/self/oom_score_adj"
	score := func() string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(string(data))
	}
	set := func(text string) error { return os.WriteFile(file, []byte(text), 0) }
	before := score()
	t.Cleanup(func() {
		if err := set(before); err != nil {
			t.Error(err)
		}
	})
	if err := set("700"); err != nil {
		t.Fatal(err)
	}
	if err := Spare(600); err != nil || score() != "600" {
		t.Errorf("from 700 to 600: %v, the score is %s", err, score())
	}
	if err := Spare(650); err != nil || score() != "600" {
		t.Errorf("a higher one: %v, the score is %s", err, score())
	}
	want := "-999"
	if err := set("-998"); errors.Is(err, fs.ErrPermission) {
		want = "600" // not allowed to this process
	} else if err := set("600"); err != nil {
		t.Fatal(err)
	}
	if err := Spare(-999); err != nil || score() != want {
		t.Errorf("as low as may be: %v, the score is %s, want %s", err, score(), want)
	}
}
