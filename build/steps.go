package build

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/berth-engine/berth/core"
)

// dockerfileLimit is how long a Dockerfile may be, in bytes: BuildKit's frontend takes no longer one either.
const dockerfileLimit = 2 << 20

// step is an instruction as the classic output numbers it.
type step struct {
	text string
	// key names the piece of BuildKit's graph that does it ("stage-0 2": the second of that stage); empty for
	// instructions that only change the image's configuration.
	key string
	run bool
}

// plan is what a Dockerfile will do, in the order in which it says so.
type plan struct {
	file  string
	steps []step
	// only is the name of the stage when there is but one: BuildKit may leave it out then.
	only string
	// syntax is a "# syntax=" line that asks for what we have built in.
	syntax string
}

// builtinSyntax says whether a "# syntax=" line asks for a release of the Dockerfile frontend that the one within
// BuildKit can stand in for. Pulling it from a registry would only cost time; the classic builder never did.
func builtinSyntax(ref string) bool {
	name, tag, _ := strings.Cut(strings.TrimPrefix(ref, "docker.io/"), ":")
	return name == "docker/dockerfile" && (tag == "" || tag == "latest" || tag == "1" || strings.HasPrefix(tag, "1.")) &&
		!strings.Contains(tag, "-")
}

// readPlan finds and reads the Dockerfile of a context. What is wrong with it is said in Docker's words, which name line
// and instruction, before anything runs. It gives the name of the file, which may be in lower case.
func readPlan(files *tarFS, options core.BuildOptions) (*plan, error) {
	name := options.Dockerfile
	if name == "" {
		name = "Dockerfile"
	}
	content, err := files.ReadFile(name, dockerfileLimit)
	if err != nil && name == "Dockerfile" {
		if content, err = files.ReadFile("dockerfile", dockerfileLimit); err == nil {
			name = "dockerfile"
		}
	}
	if err != nil {
		return nil, core.Invalid("Cannot locate specified Dockerfile: %s", name)
	}
	if len(bytes.TrimSpace(content)) == 0 {
		return nil, core.Invalid("the Dockerfile (%s) cannot be empty", name)
	}
	p := &plan{file: name}
	if syntax, _, _, ok := parser.DetectSyntax(content); ok {
		if !builtinSyntax(syntax) {
			return p, nil // another frontend's language: only it can read the file
		}
		p.syntax = syntax
	}
	tree, err := parser.Parse(bytes.NewReader(content))
	if err != nil {
		return nil, core.Invalid("failed to parse %s: %w", name, err)
	}
	stages, args, err := instructions.Parse(tree.AST, nil)
	if err != nil {
		return nil, core.Invalid("%w", err)
	}
	if len(stages) == 0 {
		return nil, core.Invalid("No image was generated. Is your Dockerfile empty?")
	}
	target := len(stages) - 1
	if options.Target != "" {
		found, ok := findStage(stages, options.Target)
		if !ok {
			return nil, core.Invalid("target stage %q could not be found", options.Target)
		}
		target = found
	}
	p.steps = number(stages, args, target)
	if len(stages) == 1 {
		p.only = stageName(stages, 0)
	}
	return p, nil
}

// findStage finds a stage by name or number.
func findStage(stages []instructions.Stage, name string) (int, bool) {
	if i, ok := instructions.HasStage(stages, name); ok {
		return i, true
	}
	i, err := strconv.Atoi(name)
	return i, err == nil && i >= 0 && i < len(stages)
}

// number lists the steps of the stages that the target needs, as BuildKit leaves the others out.
func number(stages []instructions.Stage, args []instructions.ArgCommand, target int) []step {
	var steps []step
	for _, arg := range args {
		steps = append(steps, step{text: arg.String()})
	}
	needed := reachable(stages, target)
	for i, stage := range stages {
		if !needed[i] {
			continue
		}
		name := stageName(stages, i)
		count := 0
		key := func() string {
			count++
			return stepKey(name, count)
		}
		from := step{text: stage.SourceCode}
		if _, earlier := findStage(stages[:i], stage.BaseName); !earlier && stage.BaseName != "scratch" {
			from.key = key()
		}
		steps = append(steps, from)
		for _, command := range stage.Commands {
			s := step{text: fmt.Sprint(command)}
			switch command.(type) {
			case *instructions.RunCommand:
				s.key, s.run = key(), true
			case *instructions.AddCommand, *instructions.CopyCommand, *instructions.WorkdirCommand:
				s.key = key()
			}
			steps = append(steps, s)
		}
	}
	return steps
}

// stageName is what BuildKit calls a stage.
func stageName(stages []instructions.Stage, i int) string {
	if stages[i].Name != "" {
		return stages[i].Name
	}
	return fmt.Sprintf("stage-%d", i)
}

func stepKey(stage string, count int) string {
	return strings.ToLower(stage) + " " + strconv.Itoa(count)
}

// reachable says which stages the target stands on or copies from.
func reachable(stages []instructions.Stage, target int) map[int]bool {
	needed := map[int]bool{}
	var visit func(i int)
	need := func(name string, before int) {
		if found, ok := findStage(stages[:before], name); ok {
			visit(found)
		}
	}
	visit = func(i int) {
		if needed[i] {
			return
		}
		needed[i] = true
		need(stages[i].BaseName, i)
		for _, command := range stages[i].Commands {
			switch c := command.(type) {
			case *instructions.CopyCommand:
				need(c.From, i)
			case *instructions.RunCommand:
				for _, mount := range instructions.GetMounts(c) {
					need(mount.From, i)
				}
			}
		}
	}
	visit(target)
	return needed
}

// vertexKey reads BuildKit's name of a step, "[build 2/7] RUN make", as the key of a step. only is the stage where none
// is named.
func vertexKey(name, only string) (string, bool) {
	inside, ok := strings.CutPrefix(name, "[")
	if !ok {
		return "", false
	}
	inside, _, ok = strings.Cut(inside, "]")
	if !ok {
		return "", false
	}
	words := strings.Fields(inside)
	if len(words) == 0 {
		return "", false
	}
	// The count may be padded, "[build  2/11]"; a platform may stand before the stage.
	count, _, ok := strings.Cut(words[len(words)-1], "/")
	if !ok {
		return "", false
	}
	n, err := strconv.Atoi(count)
	if err != nil {
		return "", false
	}
	stage := only
	if len(words) > 1 && !strings.Contains(words[len(words)-2], "/") { // else that is a platform
		stage = words[len(words)-2]
	}
	return stepKey(stage, n), true
}
