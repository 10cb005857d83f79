package config

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

func TestChangesAreDockerfileInstructions(t *testing.T) {
	t.Parallel()
	cases := []struct{ changes, want string }{ // changes are separated by newlines
		{`CMD ["a", "b c"]`, `{"Cmd":["a","b c"]}`},
		{`cmd echo  hi`, `{"Cmd":["/bin/sh","-c","echo  hi"]}`},
		{"ENTRYPOINT [not json", `{"Entrypoint":["/bin/sh","-c","[not json"]}`},
		{"CMD a\nCMD", `{}`},
		{"ENV A=1 B='x y' C=\"q\\\"r\"\nENV A=2", `{"Env":["A=2","B=x y","C=q\"r"]}`},
		{"ENV PATH /bin and more", `{"Env":["PATH=/bin and more"]}`},
		{"ENV A=1\nENV A=2 B=$A\nENV C '$A' $B${A}${NO:-no}${A:+yes}${NO}", `{"Env":["A=2","B=1","C=$A 12noyes"]}`},
		{`ENV A="$" B=\$A C="\$A" D='${A}'`, `{"Env":["A=$","B=$A","C=$A","D=${A}"]}`},
		{"ENV A=/x\nWORKDIR $A\nWORKDIR y\nLABEL at=$A\nUSER ${A}\nVOLUME $A", `{"User":"/x","Env":["A=/x"],"Volumes":{"/x":{}},"WorkingDir":"/x/y","Labels":{"at":"/x"}}`},
		{"CMD a\nENTRYPOINT [\"b\"]", `{"Entrypoint":["b"],"Cmd":["/bin/sh","-c","a"]}`},
		{"LABEL a=b \"c d\"=e", `{"Labels":{"a":"b","c d":"e"}}`},
		{"EXPOSE 80 53/udp 8000-8001", `{"ExposedPorts":{"53/udp":{},"80/tcp":{},"8000/tcp":{},"8001/tcp":{}}}`},
		{"VOLUME /a /b\nVOLUME [\"/c\"]", `{"Volumes":{"/a":{},"/b":{},"/c":{}}}`},
		{"USER me:us\nWORKDIR /w\nSTOPSIGNAL SIGINT", `{"User":"me:us","WorkingDir":"/w","StopSignal":"SIGINT"}`},
		{"ONBUILD RUN x", `{"OnBuild":["RUN x"]}`},
		{"HEALTHCHECK NONE", `{"Healthcheck":{"Test":["NONE"],"Interval":0,"Timeout":0,"StartPeriod":0,"StartInterval":0,"Retries":0}}`},
		{"HEALTHCHECK --interval=5s --retries=2 CMD curl x", `{"Healthcheck":{"Test":["CMD-SHELL","curl x"],"Interval":5000000000,"Timeout":0,"StartPeriod":0,"StartInterval":0,"Retries":2}}`},
		{"# a comment\n\n", `{}`},
		{"RUN x", "run is not a valid change command"},
		{"ENV", "ENV requires at least one argument"},
		{"ENV A", "ENV must have two arguments"},
		{"ENV A=1 B", "can't find = in"},
		{"ENV =x", "names can not be blank"},
		{"LABEL a='b", "matching single-quote"},
		{"EXPOSE eighty", "invalid containerPort: eighty"},
		{"EXPOSE 90-80", "invalid containerPort: 90-80"},
		{"EXPOSE 80/icmp", "invalid containerPort: 80/icmp"},
		{`VOLUME [""]`, "can not be an empty string"},
		{"ONBUILD FROM x", "isn't allowed as an ONBUILD trigger"},
		{"HEALTHCHECK --retries=0 CMD x", "--retries must be at least 1"},
		{"HEALTHCHECK --interval=soon CMD x", "invalid interval"},
		{"HEALTHCHECK --color=red CMD x", "unknown flag: color"},
		{"HEALTHCHECK CMD", "Missing command"},
		{"HEALTHCHECK MAYBE x", "Unknown type"},
	}
	for _, c := range cases {
		var config Settings
		err := Apply(&config, strings.Split(c.changes, "\n"))
		got := toJSON(t, config)
		if err != nil {
			got = fmt.Sprint(err)
		}
		if got != c.want && (err == nil || !strings.Contains(got, c.want)) {
			t.Errorf("%q gives %s, want %s", c.changes, got, c.want)
		}
	}
}

func toJSON(t *testing.T, value any) string {
	t.Helper()
	raw, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

func TestAChangedEntrypointTakesTheOldCommandAway(t *testing.T) {
	t.Parallel()
	config := Settings{Shell: []string{"/bin/ash", "-e"}}
	config.Cmd = []string{"old"}
	if err := Apply(&config, []string{"ENTRYPOINT run it"}); err != nil {
		t.Fatal(err)
	}
	if got, want := toJSON(t, config), `{"Entrypoint":["/bin/ash","-e","run it"],"Shell":["/bin/ash","-e"]}`; got != want {
		t.Errorf("it is %s, want %s", got, want)
	}
}

// FuzzApply looks for changes that make the parser panic.
func FuzzApply(f *testing.F) {
	for _, seed := range []string{"ENV A=\"$B${C:-d}\\", "CMD [", "LABEL 'a=b", "HEALTHCHECK --interval=1s CMD", "EXPOSE 1-2/udp", "VOLUME [\"\"]", "ENV ${"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, change string) {
		var config Settings
		config.Env = []string{"B=1"}
		if err := Apply(&config, []string{change}); err == nil {
			toJSON(t, config)
		}
	})
}
