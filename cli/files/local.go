package files

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// capabilityRecord is the PAX record in which a program's capabilities travel.
const (
	capability       = "security.capability"
	capabilityRecord = "SCHILY.xattr." + capability
)

// packer writes files of this machine into a tar.
type packer struct {
	tar   *tar.Writer
	links map[[2]uint64]string // the first name of each file with several names, by device and inode
	size  int64                // of the content of the files
}

// pack writes what is at a path, and all that is in it, under the given name. It gives the size of the content.
func pack(w io.Writer, path, name string) (int64, error) {
	p := &packer{tar: tar.NewWriter(w), links: map[[2]uint64]string{}}
	if err := p.add(path, name); err != nil {
		return p.size, err
	}
	return p.size, p.tar.Close()
}

func (p *packer) add(from, name string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if info.Mode()&os.ModeSocket != 0 {
		return nil // no tar can hold it
	}
	target := ""
	if info.Mode()&os.ModeSymlink != 0 {
		if target, err = os.Readlink(from); err != nil {
			return err
		}
	}
	header, err := tar.FileInfoHeader(info, target)
	if err != nil {
		return err
	}
	header.Name, header.Uname, header.Gname, header.Format = name, "", "", tar.FormatPAX
	header.ModTime, header.AccessTime, header.ChangeTime = info.ModTime().Truncate(time.Second), time.Time{}, time.Time{}
	if info.IsDir() {
		header.Name = strings.TrimSuffix(name, "/") + "/"
		return p.addFolder(header, from, name)
	}
	if info.Mode().IsRegular() {
		return p.addFile(header, from, name, info)
	}
	return p.tar.WriteHeader(header)
}

func (p *packer) addFolder(header *tar.Header, from, name string) error {
	if err := p.tar.WriteHeader(header); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, entry := range entries {
		// Not path.Join, which would take a dot at the beginning away.
		if err := p.add(filepath.Join(from, entry.Name()), strings.TrimSuffix(name, "/")+"/"+entry.Name()); err != nil {
			return err
		}
	}
	return nil
}

func (p *packer) addFile(header *tar.Header, from, name string, info os.FileInfo) error {
	if st, ok := info.Sys().(*syscall.Stat_t); ok && st.Nlink > 1 {
		key := [2]uint64{uint64(st.Dev), st.Ino}
		if first, known := p.links[key]; known {
			header.Typeflag, header.Linkname, header.Size = tar.TypeLink, first, 0
			return p.tar.WriteHeader(header)
		}
		p.links[key] = name
	}
	value := make([]byte, 64)
	if n, err := syscall.Getxattr(from, capability, value); err == nil && n > 0 {
		header.PAXRecords = map[string]string{capabilityRecord: string(value[:n])}
	}
	file, err := os.Open(from)
	if err != nil {
		return err
	}
	defer file.Close()
	if err := p.tar.WriteHeader(header); err != nil {
		return err
	}
	n, err := io.Copy(p.tar, io.LimitReader(file, header.Size))
	p.size += n
	if err == nil && n < header.Size {
		err = fmt.Errorf("%s has become shorter while it was copied", from)
	}
	return err
}

// unpacker writes a tar to this machine, without ever leaving its folder: neither by names nor by links.
type unpacker struct {
	root *os.Root
	// owners are kept when the copy is to be exact and the user may give files away.
	owners  bool
	folders map[string]time.Time // get their times at the end: whatever is put into them changes those
	rename  func(string) string
}

// unpack writes a tar, whose names are changed by rename, below a folder.
func unpack(r io.Reader, folder string, owners bool, rename func(string) string) (err error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	u := &unpacker{root: root, owners: owners && os.Geteuid() == 0, folders: map[string]time.Time{}, rename: rename}
	for archive := tar.NewReader(r); ; {
		header, err := archive.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := u.entry(header, archive); err != nil {
			return err
		}
	}
	for name, at := range u.folders {
		if err := root.Chtimes(name, at, at); err != nil {
			return err
		}
	}
	return nil
}

// local makes a name of a tar relative to its top.
func (u *unpacker) local(name string) (string, error) {
	clean := path.Clean(strings.TrimLeft(u.rename(name), "/"))
	if !filepath.IsLocal(clean) {
		return "", fmt.Errorf("%q in the archive leads out of %s", name, u.root.Name())
	}
	return clean, nil
}

func (u *unpacker) entry(header *tar.Header, content io.Reader) error {
	if header.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := u.local(header.Name)
	if err != nil || name == "." {
		return err
	}
	if err := u.root.MkdirAll(path.Dir(name), 0o755); err != nil {
		return err
	}
	if err := u.clear(name, header.Typeflag == tar.TypeDir); err != nil {
		return err
	}
	if err := u.make(name, header, content); err != nil {
		return err
	}
	if u.owners {
		if err := u.root.Lchown(name, header.Uid, header.Gid); err != nil {
			return err
		}
	}
	switch header.Typeflag {
	case tar.TypeSymlink, tar.TypeLink:
		return nil
	case tar.TypeDir:
		u.folders[name] = header.ModTime
	}
	if err := u.root.Chmod(name, header.FileInfo().Mode()); err != nil {
		return err
	}
	u.keepCapability(name, header)
	return u.root.Chtimes(name, header.ModTime, header.ModTime)
}

// clear takes away what is in the way. A folder is merged with a folder, and replaced by nothing else.
func (u *unpacker) clear(name string, isFolder bool) error {
	info, err := u.root.Lstat(name)
	switch {
	case errors.Is(err, os.ErrNotExist) || err == nil && info.IsDir() && isFolder:
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return fmt.Errorf("cannot overwrite directory %q with non-directory %q", name, u.root.Name())
	case isFolder:
		return fmt.Errorf("cannot overwrite non-directory %q with directory %q", name, u.root.Name())
	}
	return u.root.Remove(name)
}

func (u *unpacker) make(name string, header *tar.Header, content io.Reader) error {
	switch header.Typeflag {
	case tar.TypeDir:
		if err := u.root.Mkdir(name, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
		return nil
	case tar.TypeReg:
		file, err := u.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		if err != nil {
			return err
		}
		_, err = io.Copy(file, content)
		return errors.Join(err, file.Close())
	case tar.TypeSymlink:
		return u.root.Symlink(header.Linkname, name)
	case tar.TypeLink:
		target, err := u.local(header.Linkname)
		if err != nil {
			return err
		}
		return u.root.Link(target, name)
	case tar.TypeFifo, tar.TypeChar, tar.TypeBlock:
		return u.node(name, header)
	}
	return fmt.Errorf("%s: unhandled tar header type %d", header.Name, header.Typeflag)
}

// node makes a pipe or a device.
func (u *unpacker) node(name string, header *tar.Header) error {
	folder, err := u.root.Open(path.Dir(name))
	if err != nil {
		return err
	}
	defer folder.Close()
	kinds := map[byte]uint32{tar.TypeFifo: syscall.S_IFIFO, tar.TypeChar: syscall.S_IFCHR, tar.TypeBlock: syscall.S_IFBLK}
	major, minor := uint64(header.Devmajor), uint64(header.Devminor)
	device := major&0xfff<<8 | minor&0xff | minor&^0xff<<12 | major&^0xfff<<32 // makedev(3)
	place := "/proc/self/fd/" + strconv.Itoa(int(folder.Fd())) + "/" + path.Base(name)
	if err := syscall.Mknod(place, kinds[header.Typeflag]|0o600, int(device)); err != nil {
		return &os.PathError{Op: "mknod", Path: name, Err: err}
	}
	return nil
}

// keepCapability gives a program its capabilities, where the user and the file system can.
func (u *unpacker) keepCapability(name string, header *tar.Header) {
	value, has := header.PAXRecords[capabilityRecord]
	if !has || header.Typeflag != tar.TypeReg {
		return
	}
	file, err := u.root.Open(name)
	if err != nil {
		return
	}
	defer file.Close()
	_ = syscall.Setxattr("/proc/self/fd/"+strconv.Itoa(int(file.Fd())), capability, []byte(value), 0) // a courtesy, as in Docker
}
