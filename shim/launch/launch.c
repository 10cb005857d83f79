// The child's side of a launch: a process that was forked from a Go program with many threads walks through a list of
// kernel calls and ends as the command. Between fork and execve(2) only system calls are allowed, no allocation, no
// lock, no library that keeps state: the other threads, which may have held any lock, are not there. The plan is in the
// memory that the child got a copy of.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "launch.h"

// Newer than some headers.
#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif
#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif
#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif
#define DEVPTS_MAGIC 0x1cd1
#define PROC_MAGIC 0x9fa0
#define PATH_ROOM 4096
#define REGISTERS 512
#define CALL(...) syscall(__VA_ARGS__)
// sys/mount.h has these (mount(2), umount2(2)), but can't be read together with linux/mount.h before glibc 2.37.
#define MS_REC_ 16384
#define MS_BIND_ 4096
#define MS_SLAVE_ (1 << 19)
#define MNT_DETACH_ 2

// Go's runtime raises its own limit of open files as far as it may, before anything of ours in Go runs. Processes get the
// one that the shim was started with, as they do from os/exec.
static struct rlimit64 files;

__attribute__((constructor)) static void remember_limit(void) { CALL(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, &files); }

struct child {
	const char *memory;
	const struct step *steps;
	int count;
	int detail;
	int away; // the working directory could not be entered as root
	int reg[REGISTERS];
	int made[REGISTERS]; // a target that was not there before
	int proc;            // /proc/self/fd of the host
};

static int fd_of(const struct child *c, int from) { return from < 0 ? ~from : c->reg[from]; }

static size_t number(char *out, unsigned n)
{
	char digits[12];
	size_t len = 0, i = 0;
	do
		digits[len++] = '0' + n % 10;
	while ((n /= 10) > 0);
	while (len > 0)
		out[i++] = digits[--len];
	out[i] = 0;
	return i;
}

static int all_written(int fd, const char *text, size_t n)
{
	ssize_t w = write(fd, text, n);
	if (w < 0)
		return -1;
	if ((size_t)w != n) {
		errno = EIO;
		return -1;
	}
	return 0;
}

static int resolve(int root, const char *path, uint64_t flags, uint64_t how)
{
	struct open_how h = {.flags = flags | O_CLOEXEC, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | how};
	return CALL(SYS_openat2, root, path, &h, sizeof h);
}

// Nothing is mounted into /proc: whoever trusts a file there would be lied to.
static int not_proc(int fd)
{
	struct statfs fs;
	if (fd < 0)
		return fd;
	if (fstatfs(fd, &fs) == 0 && fs.f_type != PROC_MAGIC)
		return fd;
	close(fd);
	errno = EACCES;
	return -1;
}

// target opens a path below a root that may be hostile; what is missing of it is made. Links lead nowhere outside. One
// that dangles is an error, and so is any link with TARGET_PLAIN.
static int target(int root, const char *path, int kind, int *made)
{
	uint64_t how = kind == TARGET_PLAIN ? RESOLVE_NO_SYMLINKS : 0;
	int fd = resolve(root, path, O_PATH | (kind == TARGET_PLAIN ? O_DIRECTORY : 0), how);
	*made = 0;
	if (fd >= 0 || errno != ENOENT)
		return not_proc(fd);
	char part[PATH_ROOM];
	size_t len = strlen(path);
	if (len >= sizeof part) {
		errno = ENAMETOOLONG;
		return -1;
	}
	int folder = resolve(root, ".", O_PATH | O_DIRECTORY, 0);
	for (size_t at = 0; folder >= 0;) {
		while (path[at] == '/')
			at++;
		size_t end = at;
		while (path[end] && path[end] != '/')
			end++;
		if (end == at)
			break;
		memcpy(part, path, end);
		part[end] = 0;
		size_t rest = end;
		while (path[rest] == '/')
			rest++;
		int last = path[rest] == 0;
		int next = resolve(root, part, O_PATH, how);
		if (next < 0 && errno == ENOENT) {
			char name[NAME_MAX + 1];
			if (end - at > NAME_MAX) {
				errno = ENAMETOOLONG;
				break;
			}
			memcpy(name, path + at, end - at);
			name[end - at] = 0;
			int err = last && kind == TARGET_FILE ? mknodat(folder, name, S_IFREG | 0644, 0) : mkdirat(folder, name, 0755);
			if (err < 0)
				break;
			next = resolve(root, part, O_PATH, how);
		}
		if (next < 0)
			break;
		close(folder);
		folder = next;
		at = end;
		if (last) {
			*made = 1;
			return not_proc(folder);
		}
	}
	if (folder >= 0)
		close(folder);
	return -1;
}

static int attach(int mount, int at)
{
	return CALL(SYS_move_mount, mount, "", at, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

static int change(int mount, uint64_t set, uint64_t clear, uint64_t propagation, int recursive)
{
	struct mount_attr attr = {.attr_set = set, .attr_clr = clear, .propagation = propagation};
	return CALL(SYS_mount_setattr, mount, "", AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0), &attr, sizeof attr);
}

static int is_null(const struct stat *s) { return S_ISCHR(s->st_mode) && s->st_rdev == makedev(1, 3); }

// The container's own /dev/null, if that is one.
static int own_null(int flags)
{
	int fd = open("/dev/null", flags | O_CLOEXEC);
	struct stat s;
	if (fd < 0 || fstat(fd, &s) < 0)
		return -1;
	if (!is_null(&s)) {
		errno = EINVAL;
		return -1;
	}
	return fd;
}

static int step_pivot(int root)
{
	int old = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (old < 0 || fchdir(root) < 0 || CALL(SYS_pivot_root, ".", ".") < 0 || fchdir(old) < 0)
		return -1;
	// Nothing that is unmounted here may be unmounted elsewhere.
	if (CALL(SYS_mount, "", ".", "", MS_SLAVE_ | MS_REC_, "") < 0 || CALL(SYS_umount2, ".", MNT_DETACH_) < 0)
		return -1;
	return chdir("/");
}

static int step_null(void)
{
	int null = own_null(O_RDWR);
	if (null < 0)
		return -1;
	for (int fd = 0; fd < 3; fd++) {
		struct stat s;
		if (fstat(fd, &s) < 0 || (is_null(&s) && dup3(null, fd, 0) < 0))
			return -1;
	}
	return close(null);
}

static int step_mkdirs(const char *path)
{
	char part[PATH_ROOM];
	size_t len = strlen(path);
	if (len >= sizeof part) {
		errno = ENAMETOOLONG;
		return -1;
	}
	struct stat s;
	if (stat(path, &s) == 0)
		return 0;
	for (size_t i = 1; i <= len; i++) {
		if (path[i] != '/' && path[i] != 0)
			continue;
		memcpy(part, path, i);
		part[i] = 0;
		if (mkdir(part, 0755) < 0 && errno != EEXIST)
			return -1;
	}
	return 0;
}

// There is a copy of the mount or folder over itself that can't be written.
static int step_rdonly(const char *path)
{
	int copy = CALL(SYS_open_tree, AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);
	if (copy < 0)
		return errno == ENOENT ? 0 : -1;
	int at = open(path, O_PATH | O_CLOEXEC);
	if (at < 0 || change(copy, MOUNT_ATTR_RDONLY, 0, 0, 0) < 0 || attach(copy, at) < 0)
		return -1;
	close(at);
	return close(copy);
}

static int step_mask(const char *path, const char *label)
{
	int at = open(path, O_PATH | O_CLOEXEC);
	if (at < 0)
		return errno == ENOENT ? 0 : -1;
	struct stat s;
	if (fstat(at, &s) < 0)
		return -1;
	int mask;
	if (S_ISDIR(s.st_mode)) {
		int fs = CALL(SYS_fsopen, "tmpfs", FSOPEN_CLOEXEC);
		if (fs < 0 || CALL(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "source", "tmpfs", 0) < 0 ||
		    CALL(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "nr_blocks", "1", 0) < 0 ||
		    CALL(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "nr_inodes", "1", 0) < 0 ||
		    (label && CALL(SYS_fsconfig, fs, FSCONFIG_SET_STRING, "context", label, 0) < 0) ||
		    CALL(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, "ro", 0, 0) < 0 ||
		    CALL(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, 0, 0, 0) < 0)
			return -1;
		mask = CALL(SYS_fsmount, fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_RDONLY);
		close(fs);
	} else {
		int null = own_null(O_PATH);
		if (null < 0)
			return -1;
		mask = CALL(SYS_open_tree, null, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
		close(null);
	}
	if (mask < 0 || attach(mask, at) < 0)
		return -1;
	close(at);
	return close(mask);
}

static int step_label(int mount, const char *label, size_t length)
{
	int top = CALL(SYS_openat, mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (top < 0 || CALL(SYS_fsetxattr, top, "security.selinux", label, length, 0) < 0)
		return -1;
	return close(top);
}

// Root may go where the user may not, and (on a network file system) the other way round: who first fails is tried again.
static int step_chdir(struct child *c, const char *path, int again)
{
	if (again && !c->away)
		return 0;
	int err = chdir(path);
	if (err < 0 && !again && (errno == EACCES || errno == EPERM)) {
		c->away = 1;
		return 0;
	}
	return err;
}

static int step_inside(void)
{
	char cwd[PATH_ROOM];
	// The kernel's call, not the library's: outside of the root it says "(unreachable)" (getcwd(2)).
	if (CALL(SYS_getcwd, cwd, sizeof cwd) < 0)
		return -1;
	if (cwd[0] != '/') {
		errno = ENOENT;
		return -1;
	}
	return 0;
}

static int step_stdio(int in, int out, int err)
{
	int want[3] = {in, out, err};
	// None of them may be overwritten before its turn.
	for (int i = 0; i < 3; i++) {
		want[i] = fcntl(want[i], F_DUPFD_CLOEXEC, 3);
		if (want[i] < 0)
			return -1;
	}
	for (int i = 0; i < 3; i++)
		if (dup3(want[i], i, 0) < 0)
			return -1;
	return 0;
}

static int send_fd(int socket, int fd)
{
	char control[CMSG_SPACE(sizeof fd)] = {0};
	struct iovec text = {.iov_base = "terminal", .iov_len = 8};
	struct msghdr m = {.msg_iov = &text, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);
	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(h), &fd, sizeof fd);
	return sendmsg(socket, &m, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

// The terminal comes from the container's own devpts. What is at its path is looked at before it is opened: in a
// container that runs it may be anything.
static int step_console(struct child *c, int socket, unsigned short rows, unsigned short columns, int mounted)
{
	int seen = open("/dev/pts/ptmx", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct stat s;
	struct statfs fs;
	if (seen < 0 || fstat(seen, &s) < 0 || fstatfs(seen, &fs) < 0)
		return -1;
	if (fs.f_type != DEVPTS_MAGIC || s.st_ino != 2 || !S_ISCHR(s.st_mode) || s.st_rdev != makedev(5, 2)) {
		errno = ENODEV;
		return -1;
	}
	char name[12];
	number(name, seen);
	int master = openat(c->proc, name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	int unlock = 0;
	if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return -1;
	close(seen);
	int terminal = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (terminal < 0)
		return -1;
	struct winsize size = {.ws_row = rows, .ws_col = columns};
	if (rows && columns && ioctl(master, TIOCSWINSZ, &size) < 0)
		return -1;
	if (mounted) {
		int at = open("/dev/console", O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY, 0666);
		if (at < 0)
			return -1;
		close(at);
		at = open("/dev/console", O_PATH | O_NOFOLLOW | O_CLOEXEC);
		int copy = CALL(SYS_open_tree, terminal, "", OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_EMPTY_PATH);
		if (at < 0 || copy < 0 || attach(copy, at) < 0)
			return -1;
		close(at);
		close(copy);
	}
	if (send_fd(socket, master) < 0 || step_stdio(terminal, terminal, terminal) < 0)
		return -1;
	close(master);
	close(terminal);
	return ioctl(0, TIOCSCTTY, 0);
}

static int step_own(uid_t uid)
{
	for (int fd = 0; fd < 3; fd++) {
		struct stat s;
		if (fstat(fd, &s) < 0)
			return -1;
		if (s.st_uid == uid || is_null(&s))
			continue;
		if (fchown(fd, uid, -1) < 0 && errno != EPERM && errno != EROFS)
			return -1;
	}
	return 0;
}

static int step_keyring(const char *name, int searchable)
{
	long ring = CALL(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name, 0, 0, 0);
	if (ring < 0)
		return errno == ENOSYS ? 0 : -1; // kernels without keys have none to hide
	if (!searchable)
		return 0;
	// Its number is found in the description "keyring;uid;gid;perm;name" (keyctl_describe(3)).
	char text[512];
	long n = CALL(SYS_keyctl, KEYCTL_DESCRIBE, ring, text, sizeof text - 1, 0);
	if (n < 0 || n >= (long)sizeof text)
		return -1;
	text[n] = 0;
	char *at = text;
	for (int i = 0; i < 3; i++) {
		at = strchr(at, ';');
		if (!at) {
			errno = EINVAL;
			return -1;
		}
		at++;
	}
	uint32_t perm = strtoul(at, NULL, 16);
	return CALL(SYS_keyctl, KEYCTL_SETPERM, ring, perm | 0x80000, 0, 0);
}

static int step_user(const struct step *s, const gid_t *groups)
{
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return -1;
	// The library's functions would change all threads, of which this process has one.
	if (CALL(SYS_setgroups, s->n, groups) < 0 || CALL(SYS_setgid, (gid_t)s->y) < 0 || CALL(SYS_setuid, (uid_t)s->x) < 0)
		return -1;
	return 0;
}

static int step_caps(uint64_t have, uint64_t inherit)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2];
	for (int i = 0; i < 2; i++) {
		data[i].effective = data[i].permitted = have >> (32 * i);
		data[i].inheritable = inherit >> (32 * i);
	}
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return -1;
	return CALL(SYS_capset, &head, data);
}

static int step_bound(uint64_t keep, unsigned known)
{
	for (unsigned i = 0; i < known; i++)
		if (!(keep >> i & 1) && prctl(PR_CAPBSET_DROP, i, 0, 0, 0) < 0 && errno != EINVAL)
			return -1;
	return 0;
}

static int step_ambient(uint64_t raise, unsigned known)
{
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && errno != EINVAL)
		return -1;
	for (unsigned i = 0; i < known; i++)
		if (raise >> i & 1)
			prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0); // what can't be raised stays as it is
	return 0;
}

// Whether a path can be run, before it is: afterwards the reason of a failure is hard to tell.
static int runnable(struct child *c, const char *path)
{
	struct stat s;
	c->detail = DETAIL_STAT;
	if (stat(path, &s) < 0)
		return -1;
	c->detail = DETAIL_FOLDER;
	if (S_ISDIR(s.st_mode)) {
		errno = EISDIR;
		return -1;
	}
	c->detail = DETAIL_ACCESS;
	if (CALL(SYS_faccessat2, AT_FDCWD, path, X_OK, AT_EACCESS) < 0 && errno != ENOSYS && errno != EPERM)
		return -1;
	c->detail = DETAIL_NONE;
	return 0;
}

#define MOST_WORDS 65536

static int step_exec(struct child *c, const struct step *s, char **words, char **env)
{
	const char *at = c->memory + s->a;
	for (uint64_t i = 0; i < s->x; i++, at += strlen(at) + 1)
		words[i] = (char *)at;
	words[s->x] = NULL;
	const char *search = "";
	at = c->memory + s->b;
	for (uint64_t i = 0; i < s->y; i++, at += strlen(at) + 1) {
		env[i] = (char *)at;
		if (strncmp(at, "PATH=", 5) == 0)
			search = at + 5;
	}
	env[s->y] = NULL;

	char path[PATH_ROOM];
	const char *command = words[0];
	if (!strchr(command, '/')) {
		size_t len = strlen(command);
		int found = 0, error = ENOENT;
		for (const char *p = search; *p && !found;) {
			const char *end = strchr(p, ':');
			size_t n = end ? (size_t)(end - p) : strlen(p);
			// A search below the working directory is nobody's intention.
			if (len > 0 && n > 0 && *p == '/' && n + len + 2 <= sizeof path) {
				memcpy(path, p, n);
				path[n] = '/';
				memcpy(path + n + 1, command, len + 1);
				found = runnable(c, path) == 0;
				if (!found && errno == EACCES && c->detail == DETAIL_ACCESS)
					error = EACCES;
			}
			p = end ? end + 1 : p + n;
		}
		if (!found) {
			c->detail = DETAIL_SEARCH;
			errno = error;
			return -1;
		}
		command = path;
	} else if (runnable(c, command) < 0) {
		return -1;
	}
	sigset_t none;
	sigemptyset(&none);
	CALL(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, _NSIG / 8);
	execve(command, words, env);
	return -1;
}

static int perform(struct child *c, const struct step *s, char **words, char **env)
{
	const char *a = c->memory + s->a, *b = c->memory + s->b;
	int fd = fd_of(c, s->from), to = s->to;
	switch (s->code) {
	case STEP_WRITE:
		return all_written(fd, a, s->n);
	case STEP_FILE:
		fd = open(b, O_WRONLY | O_CLOEXEC);
		if (fd < 0 || all_written(fd, a, s->n) < 0)
			return -1;
		return close(fd);
	case STEP_SETNS:
		return CALL(SYS_setns, fd, (int)s->x);
	case STEP_UNSHARE:
		return CALL(SYS_unshare, (int)s->x);
	case STEP_HOSTNAME:
		return sethostname(a, s->n);
	case STEP_DOMAINNAME:
		return setdomainname(a, s->n);
	case STEP_REMOUNT:
		return CALL(SYS_mount, "", b, "", s->x, "");
	case STEP_BIND:
		return CALL(SYS_mount, a, a, "", MS_BIND_ | MS_REC_, "");
	case STEP_OPEN:
		return c->reg[to] = open(a, (int)s->x | O_PATH | O_CLOEXEC);
	case STEP_TARGET:
		return c->reg[to] = target(fd, a, (int)s->x, &c->made[to]);
	case STEP_FS:
		c->reg[to] = CALL(SYS_fsopen, a, FSOPEN_CLOEXEC);
		if (c->reg[to] < 0)
			return -1;
		return CALL(SYS_fsconfig, c->reg[to], FSCONFIG_SET_STRING, "source", b, 0);
	case STEP_OPTION:
		return CALL(SYS_fsconfig, fd, s->b ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, a, s->b ? b : NULL, 0);
	case STEP_MODE: {
		struct stat st;
		if (c->made[s->x])
			return 0;
		if (fstat(c->reg[s->x], &st) < 0)
			return -1;
		char mode[6] = {'0', '0' + (st.st_mode >> 9 & 7), '0' + (st.st_mode >> 6 & 7), '0' + (st.st_mode >> 3 & 7), '0' + (st.st_mode & 7), 0};
		return CALL(SYS_fsconfig, fd, FSCONFIG_SET_STRING, "mode", mode, 0);
	}
	case STEP_MOUNT:
		if (CALL(SYS_fsconfig, fd, FSCONFIG_CMD_CREATE, 0, 0, 0) < 0)
			return -1;
		c->reg[to] = CALL(SYS_fsmount, fd, FSMOUNT_CLOEXEC, s->x);
		close(fd);
		return c->reg[to];
	case STEP_TREE:
		return c->reg[to] = CALL(SYS_open_tree, AT_FDCWD, a, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (s->x ? AT_RECURSIVE : 0));
	case STEP_ATTR:
		return change(fd, s->x, s->y, s->n, s->a != 0);
	case STEP_MOVE:
		return attach(fd, c->reg[s->x]);
	case STEP_NODE:
		if (mknodat(fd, a, s->x, s->y) < 0)
			return errno == EEXIST ? 0 : -1;
		if (s->b) {
			const uint32_t *owner = (const void *)b;
			return fchownat(fd, a, owner[0], owner[1], AT_SYMLINK_NOFOLLOW);
		}
		return 0;
	case STEP_LINK:
		return symlinkat(a, fd, b) < 0 && errno != EEXIST ? -1 : 0;
	case STEP_UNLINK:
		return unlinkat(fd, a, 0) < 0 && errno != ENOENT ? -1 : 0;
	case STEP_PIVOT:
		return step_pivot(fd);
	case STEP_NULL:
		return step_null();
	case STEP_MKDIRS:
		return step_mkdirs(a);
	case STEP_RDONLY:
		return step_rdonly(a);
	case STEP_MASK:
		return step_mask(a, s->b ? b : NULL);
	case STEP_LABEL:
		return step_label(fd, a, s->n);
	case STEP_CHDIR:
		return step_chdir(c, a, (int)s->x);
	case STEP_INSIDE:
		return step_inside();
	case STEP_STDIO:
		return step_stdio((int)s->x, (int)s->y, (int)s->n);
	case STEP_SESSION:
		return setsid();
	case STEP_CONSOLE:
		return step_console(c, fd, s->x, s->y, s->n);
	case STEP_OWN:
		return step_own(s->x);
	case STEP_RLIMIT: {
		struct rlimit64 limit = {s->x, s->y};
		return CALL(SYS_prlimit64, 0, s->n, &limit, NULL);
	}
	case STEP_KEYRING:
		return step_keyring(a, (int)s->x);
	case STEP_UMASK:
		umask(s->x);
		return 0;
	case STEP_BOUND:
		return step_bound(s->x, s->y);
	case STEP_USER:
		return step_user(s, (const gid_t *)a);
	case STEP_CAPS:
		return step_caps(s->x, s->y);
	case STEP_AMBIENT:
		return step_ambient(s->x, s->y);
	case STEP_NNP:
		return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	case STEP_SECCOMP: {
		struct sock_fprog program = {.len = s->n, .filter = (struct sock_filter *)a};
		return CALL(SYS_seccomp, SECCOMP_SET_MODE_FILTER, s->x, &program);
	}
	case STEP_EXEC:
		return step_exec(c, s, words, env);
	}
	errno = ENOSYS;
	return -1;
}

// The child. It ends as the command, or tells through the pipe which step failed.
static void __attribute__((noreturn)) walk(struct child *c, int report, char **words, char **env)
{
	struct outcome o = {.step = 0};
	// Nobody may look into this process before it is the command, and nothing of the parent's is for the command.
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	umask(0);
	if (CALL(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) < 0) {
		o.step = -2;
		o.error = errno;
		goto failed;
	}
	CALL(SYS_prlimit64, 0, RLIMIT_NOFILE, &files, NULL);
	c->proc = open("/proc/self/fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < c->count; i++) {
		if (perform(c, &c->steps[i], words, env) >= 0)
			continue;
		o.step = i;
		o.error = errno;
		o.detail = c->detail;
		break;
	}
failed:
	(void)!write(report, &o, sizeof o);
	_exit(255);
}

void berth_launch(const struct birth *b, const char *memory, const struct step *steps, int count, struct outcome *o)
{
	*o = (struct outcome){.step = -2};
	// What the child needs of memory is there before it is: it can't allocate.
	struct child *c = calloc(1, sizeof *c);
	const struct step *last = &steps[count - 1];
	char **words = NULL, **env = NULL;
	if (last->code == STEP_EXEC && last->x > 0 && last->x < MOST_WORDS && last->y < MOST_WORDS) {
		words = calloc(last->x + 1, sizeof *words);
		env = calloc(last->y + 1, sizeof *env);
	}
	int report[2] = {-1, -1};
	if (!c || !words || !env) {
		o->error = ENOMEM;
		goto out;
	}
	*c = (struct child){.memory = memory, .steps = steps, .count = count};
	if (pipe2(report, O_CLOEXEC) < 0) {
		o->error = errno;
		goto out;
	}
	// Handlers of the Go runtime must never run in the child.
	uint64_t all = ~0ULL, before;
	CALL(SYS_rt_sigprocmask, SIG_SETMASK, &all, &before, sizeof all);
	struct clone_args args = {.flags = b->namespaces | CLONE_CLEAR_SIGHAND, .exit_signal = SIGCHLD};
	if (b->cgroup >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = b->cgroup;
	}
	long pid = 0;
	if (b->pids >= 0)
		pid = CALL(SYS_setns, b->pids, CLONE_NEWPID); // of this thread's children from now on
	if (pid == 0) {
		pid = CALL(SYS_clone3, &args, sizeof args);
		if (pid == 0) {
			close(report[0]);
			walk(c, report[1], words, env);
		}
	}
	o->error = errno;
	if (b->pids >= 0 && CALL(SYS_setns, b->own_pids, CLONE_NEWPID) < 0)
		abort(); // further children of this thread would be in the container
	CALL(SYS_rt_sigprocmask, SIG_SETMASK, &before, NULL, sizeof before);
	close(report[1]);
	report[1] = -1;
	if (pid < 0)
		goto out;
	struct outcome told;
	ssize_t n;
	do
		n = read(report[0], &told, sizeof told);
	while (n < 0 && errno == EINTR);
	if (n == 0) {
		*o = (struct outcome){.pid = pid, .step = -1};
		goto out;
	}
	o->error = EIO;
	if (n == sizeof told)
		*o = told;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
out:
	if (report[0] >= 0)
		close(report[0]);
	if (report[1] >= 0)
		close(report[1]);
	free(c);
	free(words);
	free(env);
}
