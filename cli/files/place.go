package files

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// The rules of `docker cp` (docs.docker.com/reference/cli/docker/container/cp): a slash at the end of a path says that it
// is a folder, "/." at its end that its content is meant and not itself.

// resource is one end of a copy. path keeps what a slash or a dot at its end says.
type resource struct {
	path          string
	exists, isDir bool
	// name is what the copy is called, where that is not the end of the path: a link was followed.
	name string
}

var (
	errIntoFile = errors.New("cannot copy directory")
	errNoFolder = errors.New("no such directory")
)

// split takes an argument apart. A path of this machine that has a colon in it begins with a slash or a dot.
func split(argument string) (container, path string) {
	container, path, found := strings.Cut(argument, ":")
	if !found || filepath.IsAbs(argument) || strings.HasPrefix(container, ".") {
		return "", argument
	}
	return container, path
}

func endsInSlash(path string) bool { return strings.HasSuffix(path, "/") }
func endsInDot(path string) bool   { return filepath.Base(path) == "." && !endsInSlash(path) }

// keepEnd gives a cleaned path back what the original's end said.
func keepEnd(clean, original string) string {
	if endsInDot(original) && !endsInDot(clean) {
		clean = strings.TrimSuffix(clean, "/") + "/."
	}
	if endsInSlash(original) && !endsInSlash(clean) {
		clean += "/"
	}
	return clean
}

// parts gives the folder and the name of a path; of one that ends with a dot the name is ".".
func parts(path string) (folder, name string) {
	clean := filepath.Clean(path)
	if endsInDot(path) {
		return clean, "."
	}
	return filepath.Dir(clean), filepath.Base(clean)
}

// renamed is where a symbolic link was followed to, and what the copy is called then.
func renamed(path, target string) resource {
	to := resource{path: keepEnd(target, path)}
	if filepath.Base(path) != filepath.Base(to.path) {
		to.name = filepath.Base(path)
	}
	return to
}

// localSource finds what is to be copied.
func localSource(path string, follow bool) (resource, error) {
	var source resource
	if follow {
		target, err := filepath.EvalSymlinks(path)
		if err != nil {
			return source, err
		}
		source = renamed(path, target)
	} else {
		folder, base := filepath.Split(path)
		folder, err := filepath.EvalSymlinks(folder)
		if err != nil {
			return source, err
		}
		source.path = strings.TrimSuffix(folder, "/") + "/" + base
		if endsInSlash(path) && filepath.Base(path) != filepath.Base(source.path) {
			source.name = filepath.Base(path)
		}
	}
	info, err := os.Lstat(source.path)
	if err != nil {
		return source, err
	}
	source.exists, source.isDir = true, info.IsDir()
	return source, nil
}

// mostLinks is how many links to a destination are followed.
const mostLinks = 40

// localTarget finds where a copy goes: what is there need not exist, but its folder must.
func localTarget(path string) (resource, error) {
	for range mostLinks {
		info, err := os.Lstat(path)
		switch {
		case err == nil && info.Mode()&os.ModeSymlink == 0:
			return resource{path: path, exists: true, isDir: info.IsDir()}, nil
		case err == nil:
			target, err := os.Readlink(path)
			if err != nil {
				return resource{}, err
			}
			if !filepath.IsAbs(target) {
				folder, _ := parts(path)
				target = filepath.Join(folder, target)
			}
			path = target
		case os.IsNotExist(err):
			folder, _ := parts(path)
			info, err := os.Stat(folder)
			if err == nil && !info.IsDir() {
				err = &os.PathError{Op: "copy into", Path: folder, Err: syscall.ENOTDIR}
			}
			return resource{path: path}, err
		default:
			return resource{}, err
		}
	}
	return resource{}, &os.PathError{Op: "follow", Path: path, Err: syscall.ELOOP}
}

// route says into which folder a tar of the source is unpacked, and what the source is called there.
func route(source, target resource) (folder, name string, err error) {
	name = source.name
	if name == "" {
		_, name = parts(source.path)
	}
	folder, last := parts(target.path)
	switch {
	case target.exists && target.isDir:
		return target.path, name, nil
	case target.exists && source.isDir:
		return "", "", errIntoFile
	case !target.exists && !source.isDir && (endsInSlash(target.path) || endsInDot(target.path)):
		return "", "", errNoFolder
	}
	return folder, last, nil
}

// rename gives the names in a tar another beginning: the name of what was packed ("" or "." for a folder's content).
func rename(from, to string) func(string) string {
	from, to = strings.TrimRight(from, "/"), strings.TrimRight(to, "/")
	return func(name string) string {
		if from == "" {
			name = strings.TrimLeft(name, "/")
			if to == "" || to == "." {
				return name
			}
			return to + "/" + name
		}
		rest, found := strings.CutPrefix(name, from)
		if !found || rest != "" && !strings.HasPrefix(rest, "/") {
			return name
		}
		return to + rest
	}
}
