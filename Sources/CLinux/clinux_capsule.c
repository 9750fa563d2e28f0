#define _GNU_SOURCE
#include "clinux_capsule.h"
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

extern char **environ;

long clinux_list_attributes(const char *path, char *names, size_t size) {
  return llistxattr(path, names, size);
}

long clinux_get_attribute(const char *path, const char *name, void *value, size_t size) {
  return lgetxattr(path, name, value, size);
}

unsigned clinux_device_major(uint64_t device) { return major(device); }
unsigned clinux_device_minor(uint64_t device) { return minor(device); }

int clinux_pipe(int ends[2]) { return pipe2(ends, O_CLOEXEC); }

long clinux_copy_range(int from, int64_t offset, int to, int64_t target, size_t count) {
  loff_t source = offset, place = target;
  return copy_file_range(from, &source, to, &place, count, 0);
}

void clinux_start_writing(int file, int64_t offset, int64_t count) {
  sync_file_range(file, offset, count, SYNC_FILE_RANGE_WRITE);
}

static int spawn(int *pid, char *const arguments[], int input, int output, int errors, short more, int is_interrupted) {
  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
  int failure = posix_spawn_file_actions_init(&actions);
  if (failure != 0) return failure;
  failure = posix_spawnattr_init(&attributes);
  if (failure != 0) {
    posix_spawn_file_actions_destroy(&actions);
    return failure;
  }
  sigset_t none, defaults;
  sigemptyset(&none);
  sigemptyset(&defaults);
  sigaddset(&defaults, SIGPIPE);
  // Who asks it to end is to be heard.
  sigaddset(&defaults, SIGTERM);
  if (is_interrupted) {
    sigaddset(&defaults, SIGINT);
    sigaddset(&defaults, SIGQUIT);
  }
  if ((failure = posix_spawn_file_actions_adddup2(&actions, input, 0)) == 0 &&
      (failure = posix_spawn_file_actions_adddup2(&actions, output, 1)) == 0 &&
      (errors < 0 || (failure = posix_spawn_file_actions_adddup2(&actions, errors, 2)) == 0) &&
#if defined(__GLIBC__)
      (failure = posix_spawn_file_actions_addclosefrom_np(&actions, 3)) == 0 &&
#endif
      (failure = posix_spawnattr_setsigmask(&attributes, &none)) == 0 &&
      (failure = posix_spawnattr_setsigdefault(&attributes, &defaults)) == 0 &&
      (failure = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | more)) == 0)
    failure = posix_spawnp(pid, arguments[0], &actions, &attributes, arguments, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&actions);
  return failure;
}

int clinux_spawn_filter(int *pid, char *const arguments[], int input, int output) {
  return spawn(pid, arguments, input, output, -1, 0, 0);
}

int clinux_spawn_interactive(int *pid, char *const arguments[]) { return spawn(pid, arguments, 0, 1, -1, 0, 1); }

int clinux_spawn_tool(int *pid, char *const arguments[], int input, int output) {
  return spawn(pid, arguments, input, output, output, POSIX_SPAWN_SETPGROUP, 1);
}

int clinux_spawn_close_from(void *actions, int first) {
#if defined(__GLIBC__)
  return posix_spawn_file_actions_addclosefrom_np(actions, first);
#else
  return ENOSYS;
#endif
}
