package measure

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		values []float64
		want   float64
	}{
		"of nothing is nothing":                     {nil, 0},
		"of one is that one":                        {[]float64{7}, 7},
		"of an odd number is the one in the middle": {[]float64{9, 1, 5}, 5},
		"of an even number is the mean of two":      {[]float64{4, 1, 100, 2}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			before := append([]float64{}, test.values...)
			if got := Median(test.values); got != test.want {
				t.Errorf("got %v, want %v", got, test.want)
			}
			for i := range before {
				if before[i] != test.values[i] {
					t.Fatal("the values were put into another order")
				}
			}
		})
	}
}

func TestPercentileIsTheNearestRank(t *testing.T) {
	t.Parallel()
	hundred := make([]float64, 100)
	for i := range hundred {
		hundred[i] = float64(100 - i)
	}
	for p, want := range map[float64]float64{0: 1, 1: 1, 50: 50, 99: 99, 100: 100} {
		if got := Percentile(hundred, p); got != want {
			t.Errorf("%v %%: got %v, want %v", p, got, want)
		}
	}
	if got := Percentile([]float64{3}, 99); got != 3 {
		t.Errorf("of one value: %v", got)
	}
	if got := Percentile(nil, 99); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestRates(t *testing.T) {
	t.Parallel()
	if got := PerSecond(100, 2*time.Second); got != 50 {
		t.Errorf("100 in two seconds: %v", got)
	}
	if got := PerSecond(100, 0); got != 0 {
		t.Errorf("no time at all: %v", got)
	}
	if got := Milliseconds(1500 * time.Microsecond); got != 1.5 {
		t.Errorf("1.5 ms: %v", got)
	}
}

func TestParsePSS(t *testing.T) {
	t.Parallel()
	rollup := "5581a2a00000-7ffc8b5fe000 ---p 00000000 00:00 0    [rollup]\nRss:                1864 kB\nPss:                 412 kB\nPss_Dirty:           104 kB\nPss_Anon:             92 kB\n"
	for name, test := range map[string]struct {
		text string
		want int64
		fail bool
	}{
		"the line Pss and none of its relatives": {rollup, 412, false},
		"no such line":                           {"Rss: 3 kB\n", 0, true},
		"another unit":                           {"Pss: 3 MB\n", 0, true},
		"no number":                              {"Pss: many kB\n", 0, true},
		"nothing":                                {"", 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := parsePSS(strings.NewReader(test.text))
			if got != test.want || (err != nil) != test.fail {
				t.Errorf("got %d, %v", got, err)
			}
		})
	}
}

func TestPSSOfThisProcess(t *testing.T) {
	t.Parallel()
	megabytes, err := PSS([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	if megabytes < 0.5 || megabytes > 1000 {
		t.Errorf("%v MB", megabytes)
	}
	if gone, err := PSS([]int{1 << 30}); err != nil || gone != 0 {
		t.Errorf("a process that is not there: %v, %v", gone, err)
	}
}

func TestParseStat(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		line string
		want Process
		fail bool
	}{
		"a plain name":             {"42 (sleep) S 7 42 42 0 -1", Process{PID: 42, Parent: 7, Name: "sleep"}, false},
		"a name that tries to lie": {"42 (a) S 1 (b) S 7 42", Process{PID: 42, Parent: 7, Name: "a) S 1 (b"}, false},
		"no name":                  {"42 sleep S 7", Process{}, true},
		"cut off":                  {"42 (sleep) S", Process{}, true},
		"empty":                    {"", Process{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseStat(test.line)
			if got != test.want || (err != nil) != test.fail {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestDescendantsAreAllBelowAndNotTheRoot(t *testing.T) {
	t.Parallel()
	list := []Process{{PID: 1}, {PID: 2, Parent: 1}, {PID: 3, Parent: 2}, {PID: 4, Parent: 3}, {PID: 5, Parent: 1}}
	var pids []int
	for _, p := range Descendants(list, 2) {
		pids = append(pids, p.PID)
	}
	if len(pids) != 2 || pids[0] != 3 || pids[1] != 4 {
		t.Errorf("got %v", pids)
	}
}

func TestThisMachineSaysWhatItIs(t *testing.T) {
	t.Parallel()
	m := ThisMachine(t.TempDir())
	if m.Cores < 1 || m.MemoryMB < 1 || m.Kernel == "" || m.FileSystem == "" {
		t.Errorf("%+v", m)
	}
}
