#pragma once
#include <stdint.h>
#include <stddef.h>

// A step of a plan. Texts are offsets into the plan's memory; 0: none. What the numbers mean is said at each code.
struct step {
	uint32_t code;
	int32_t to;   // the register that gets a descriptor
	int32_t from; // the register, or with ~ the descriptor, that is worked on
	uint32_t n;   // length of text a, where it is not a string
	uint64_t x, y;
	uint64_t a, b;
};

enum {
	STEP_WRITE = 1,  // write text a (n bytes) to from
	STEP_FILE,       // write text a (n bytes) to the existing file b
	STEP_SETNS,      // join the namespaces x of from
	STEP_UNSHARE,    // leave the namespaces x
	STEP_HOSTNAME,   // a (n bytes)
	STEP_DOMAINNAME, // a (n bytes)
	STEP_REMOUNT,    // mount(2) without source and data on b with flags x: propagation
	STEP_BIND,       // mount(2) a on a, recursively
	STEP_OPEN,       // to = the path a, flags x, as O_PATH
	STEP_TARGET,     // to = a below from, made when missing: x = kind
	STEP_FS,         // to = a new file system of type a, source b
	STEP_OPTION,     // option a = b of the file system from; without b a flag
	STEP_MODE,       // option mode of the file system from = that of register x, if that was there before
	STEP_MOUNT,      // to = a mount of the file system from with attributes x
	STEP_TREE,       // to = a copy of the mount at a; x: with those below
	STEP_ATTR,       // of from: attributes x are set, y cleared, propagation n; a set: recursively
	STEP_MOVE,       // the mount from comes to register x
	STEP_NODE,       // mknod name a in the folder from: mode x, device y, owner b (user and group, 0: root); one that is there stays
	STEP_LINK,       // symbolic link named b in the folder from, to a; one that is there stays
	STEP_UNLINK,     // name a in the folder from, if it is there
	STEP_PIVOT,      // from becomes the root, the old one goes
	STEP_NULL,       // standard streams that are /dev/null of the host become that of the container
	STEP_MKDIRS,     // a and the folders above it
	STEP_RDONLY,     // a, if it is there, can't be written any more
	STEP_MASK,       // a, if it is there, shows nothing any more; a folder has the label b of SELinux
	STEP_LABEL,      // what the mount from shows has the label a (n bytes) of SELinux
	STEP_CHDIR,      // to a; where that is not allowed it is tried again, with x, as the user
	STEP_INSIDE,     // the working directory is below the root
	STEP_STDIO,      // descriptors x, y and n become 0, 1, 2
	STEP_SESSION,    // setsid(2)
	STEP_CONSOLE,    // a new terminal: rows x, columns y; n: on /dev/console as well; its master goes to the socket from
	STEP_OWN,        // standard streams belong to user x
	STEP_RLIMIT,     // n = resource, x = soft, y = hard
	STEP_KEYRING,    // a new session keyring a; x: searchable
	STEP_UMASK,      // x
	STEP_BOUND,      // the bounding set is x of the y capabilities that the kernel knows
	STEP_USER,       // user x, group y, further groups a (n of them)
	STEP_CAPS,       // effective and permitted x, inheritable y
	STEP_AMBIENT,    // x of the y that the kernel knows
	STEP_NNP,        // no new privileges
	STEP_SECCOMP,    // program a of n instructions, flags x
	STEP_EXEC,       // a = the words of the command, b = the environment: strings one after the other, x and y of them
};

enum { TARGET_FOLDER, TARGET_FILE, TARGET_PLAIN };

// How a process is born.
struct birth {
	uint64_t namespaces; // of its own: CLONE_NEW*
	int cgroup;          // descriptor of its cgroup (version 2), or -1
	int pids;            // descriptor of a process in whose PID namespace it is to be, or -1
	int own_pids;        // descriptor of our own PID namespace
};

// What became of it. step -1: it runs the command.
struct outcome {
	int32_t pid;
	int32_t step;
	int32_t error;
	int32_t detail;
};

enum { DETAIL_NONE, DETAIL_STAT, DETAIL_FOLDER, DETAIL_ACCESS, DETAIL_SEARCH };

void berth_launch(const struct birth *b, const char *memory, const struct step *steps, int count, struct outcome *o);
