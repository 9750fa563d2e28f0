// Capsules: what the appliance asks of the file system of a source tree.
#ifndef CLINUX_CAPSULE_H
#define CLINUX_CAPSULE_H
// No system header but these: with _GNU_SOURCE others would define types that Swift already has otherwise.
#include <stddef.h>
#include <stdint.h>

// sys/xattr.h is in no module that Swift has. The same results as the calls they are named after.
long clinux_list_attributes(const char *path, char *names, size_t size);
long clinux_get_attribute(const char *path, const char *name, void *value, size_t size);

// major() and minor() are macros.
unsigned clinux_device_major(uint64_t device);
unsigned clinux_device_minor(uint64_t device);

// pipe2(2) with O_CLOEXEC is hidden behind _GNU_SOURCE. 0, or -1 with errno.
int clinux_pipe(int ends[2]);

// copy_file_range(2) and sync_file_range(2) are hidden behind _GNU_SOURCE. The first one's result, or -1 with errno;
// the second one only begins what fsync(2) waits for, so it has no result.
long clinux_copy_range(int from, int64_t offset, int to, int64_t target, size_t count);
void clinux_start_writing(int file, int64_t offset, int64_t count);

// posix_spawn_file_actions_t is an opaque structure in one C library and a pointer in another. Starts
// `arguments[0]` from the PATH with these files as standard input and output (standard error is
// inherited), no signal blocked, SIGPIPE as usual, nothing else open. 0, or an errno.
int clinux_spawn_filter(int *pid, char *const arguments[], int input, int output);

// With this process's standard input and output, in its group: Ctrl-C of the terminal ends it, whatever it does here.
int clinux_spawn_interactive(int *pid, char *const arguments[]);

// The same, with standard error going where standard output goes, in a process group of its own.
int clinux_spawn_tool(int *pid, char *const arguments[], int input, int output);

// Adds to a posix_spawn_file_actions_t that a child has no descriptor from `first` on: hidden behind _GNU_SOURCE. For the
// tests' own commands. 0, or an errno.
int clinux_spawn_close_from(void *actions, int first);

#endif
