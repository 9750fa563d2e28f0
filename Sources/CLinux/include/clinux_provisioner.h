#ifndef CLINUX_PROVISIONER_H
#define CLINUX_PROVISIONER_H
#include <stddef.h>

// Starts a script in a child process: as nobody where we are root, in a session of its own, in the
// directory /, with nothing on standard input and its standard output on a pipe; standard error stays
// ours. The script's first line names its interpreter, /bin/sh where it names none.
// In C because what stands between fork and exec must not run Swift.
// Returns the process, or the negative errno. The reading end of the pipe is put into *output.
int clinux_run_script(const unsigned char *script, size_t length, char *const environment[], int *output);

// Opens a file below a directory for reading: no name, link or race leads outside, links within are followed.
// openat2(2) (Linux 5.6) has no function in the C library. Returns the descriptor, or the negative errno
// (-EXDEV: the name leads outside).
int clinux_open_beneath(const char *directory, const char *name);

#endif
