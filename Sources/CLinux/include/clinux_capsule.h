// Capsules: what the appliance asks of the file system of a source tree.
#ifndef CLINUX_CAPSULE_H
#define CLINUX_CAPSULE_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

// sys/xattr.h is in no module that Swift has. The same results as the calls they are named after.
ssize_t clinux_list_attributes(const char *path, char *names, size_t size);
ssize_t clinux_get_attribute(const char *path, const char *name, void *value, size_t size);

// major() and minor() are macros.
unsigned clinux_device_major(dev_t device);
unsigned clinux_device_minor(dev_t device);

// posix_spawn_file_actions_t is an opaque structure in one C library and a pointer in another. Starts
// `arguments[0]` from the PATH with these files as standard input and output (standard error is
// inherited), no signal blocked, SIGPIPE as usual, nothing else open. 0, or an errno.
int clinux_spawn_filter(pid_t *pid, char *const arguments[], int input, int output);

#endif
