#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include "clinux_provisioner.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/openat2.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { nobody = 65534 };

// Splits "#! /usr/bin/env python3\n" into interpreter and one argument, as the kernel does.
static void read_interpreter(const unsigned char *script, size_t length, char line[256], char **program, char **word) {
  *program = "/bin/sh";
  *word = NULL;
  if (length < 3 || script[0] != '#' || script[1] != '!') return;
  size_t end = 2;
  while (end < length && end < 255 && script[end] != '\n' && script[end] != 0) end++;
  memcpy(line, script + 2, end - 2);
  line[end - 2] = 0;
  char *start = line;
  while (*start == ' ' || *start == '\t') start++;
  if (*start == 0) return;
  char *stop = start;
  while (*stop && *stop != ' ' && *stop != '\t') stop++;
  *program = start;
  if (*stop == 0) return;
  *stop++ = 0;
  while (*stop == ' ' || *stop == '\t') stop++;
  size_t rest = strlen(stop);
  while (rest > 0 && (stop[rest - 1] == ' ' || stop[rest - 1] == '\t' || stop[rest - 1] == '\r')) stop[--rest] = 0;
  if (rest > 0) *word = stop;
}

int clinux_run_script(const unsigned char *script, size_t length, char *const environment[], int *output) {
  char line[256];
  char *program, *word;
  read_interpreter(script, length, line, &program, &word);

  // The script in memory: nobody could not read the file, and nobody may change it meanwhile.
  int file = memfd_create("nodescript", MFD_CLOEXEC);
  if (file < 0) return -errno;
  size_t written = 0;
  while (written < length) {
    ssize_t count = write(file, script + written, length - written);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) {
      int reason = errno ? errno : EIO;
      close(file);
      return -reason;
    }
    written += (size_t)count;
  }
  int ends[2], report[2];
  if (pipe2(ends, O_CLOEXEC) < 0) {
    int reason = errno;
    close(file);
    return -reason;
  }
  if (pipe2(report, O_CLOEXEC) < 0) {
    int reason = errno;
    close(file);
    close(ends[0]);
    close(ends[1]);
    return -reason;
  }
  // All that the child does is prepared here: only async-signal-safe calls stand behind fork.
  char *arguments[4] = {program, word ? word : "/proc/self/fd/3", word ? "/proc/self/fd/3" : NULL, NULL};
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pid_t child = fork();
  if (child == 0) {
    for (int signal = 1; signal < 65; signal++) {
      struct sigaction standard = {.sa_handler = SIG_DFL};
      sigaction(signal, &standard, NULL);
    }
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    setsid();
    struct rlimit no_core = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core);
    int reason = 0;
    // Above 9 first, so that none of them is in the way of 0, 1 and 3.
    int script_end = fcntl(file, F_DUPFD_CLOEXEC, 10), pipe_end = fcntl(ends[1], F_DUPFD_CLOEXEC, 10);
    int report_end = fcntl(report[1], F_DUPFD_CLOEXEC, 10);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (script_end < 0 || pipe_end < 0 || report_end < 0 || null < 0 || dup2(null, 0) < 0 || dup2(pipe_end, 1) < 0 ||
        dup2(script_end, 3) < 0 || chdir("/") < 0)
      reason = errno;
    close_range(4, ~0U, CLOSE_RANGE_CLOEXEC);
    if (!reason && geteuid() == 0 && (setgroups(0, NULL) < 0 || setgid(nobody) < 0 || setuid(nobody) < 0)) reason = errno;
    if (!reason) {
      execve(program, arguments, environment);
      reason = errno;
    }
    while (write(report_end, &reason, sizeof reason) < 0 && errno == EINTR) {}
    _exit(127);
  }
  int reason = errno;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  close(file);
  close(ends[1]);
  close(report[1]);
  if (child < 0) {
    close(ends[0]);
    close(report[0]);
    return -reason;
  }
  // Closed by exec, or four bytes with the reason why there was none.
  ssize_t count;
  do count = read(report[0], &reason, sizeof reason);
  while (count < 0 && errno == EINTR);
  close(report[0]);
  if (count == (ssize_t)sizeof reason) {
    close(ends[0]);
    int status;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR) {}
    return reason > 0 ? -reason : -EIO;
  }
  *output = ends[0];
  return child;
}

int clinux_open_beneath(const char *directory, const char *name) {
  int parent = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (parent < 0) return -errno;
  // Without waiting: a FIFO would have us wait for its writer.
  struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                         .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
  int file = -1;
  // EAGAIN: something on the way was renamed meanwhile, and the kernel cannot tell whether it still is beneath.
  for (int attempt = 0; attempt < 32; attempt++) {
    file = (int)syscall(SYS_openat2, parent, name, &how, sizeof how);
    if (file >= 0 || (errno != EAGAIN && errno != EINTR)) break;
  }
  int error = errno;
  close(parent);
  return file < 0 ? -error : file;
}
