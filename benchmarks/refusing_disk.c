/* A folder whose disk refuses: loaded before the system's library, it fails its calls.
   cc -shared -fPIC -o refusing_disk.so refusing_disk.c -ldl */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, FLUSH = 2, RENAME = 4, OPEN = 8, MKDIR = 16 };
static char prefix[PATH_MAX];
static int number, calls, skip;
int refused;                 /* calls that failed */
char refused_at[PATH_MAX];   /* path of the first */

/* From now on calls of some kinds on paths below a folder fail, after a few that do not. */
void refuse(const char *folder, int with, int of, int after) {
  snprintf(prefix, sizeof prefix, "%s", folder);
  number = with, calls = of, skip = after, refused = 0;
}

static int fails(int call, const char *path) {
  if (!prefix[0] || !(calls & call) || strncmp(path, prefix, strlen(prefix))) return 0;
  if (skip > 0) return skip--, 0;
  if (!refused++) snprintf(refused_at, sizeof refused_at, "%s", path);
  errno = number;
  return 1;
}

static int fails_at(int call, int file) {
  char link[64], path[PATH_MAX];
  if (!prefix[0] || !(calls & call)) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", file);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length < 0) return 0;
  path[length] = 0;
  return fails(call, path);
}

#define INSTEAD(type, name, parameters, arguments, refusal) \
  type name parameters {                                    \
    static type(*real) parameters;                          \
    if (!real) real = dlsym(RTLD_NEXT, #name);              \
    return refusal ? -1 : real arguments;                   \
  }

INSTEAD(ssize_t, write, (int f, const void *d, size_t n), (f, d, n), fails_at(WRITE, f))
INSTEAD(ssize_t, pwrite, (int f, const void *d, size_t n, off_t o), (f, d, n, o), fails_at(WRITE, f))
INSTEAD(ssize_t, pwrite64, (int f, const void *d, size_t n, off64_t o), (f, d, n, o),
        fails_at(WRITE, f))
INSTEAD(ssize_t, writev, (int f, const struct iovec *v, int n), (f, v, n), fails_at(WRITE, f))
INSTEAD(ssize_t, sendfile, (int f, int i, off_t *o, size_t n), (f, i, o, n), fails_at(WRITE, f))
INSTEAD(ssize_t, sendfile64, (int f, int i, off64_t *o, size_t n), (f, i, o, n),
        fails_at(WRITE, f))
INSTEAD(ssize_t, copy_file_range, (int i, off64_t *a, int f, off64_t *b, size_t n, unsigned w),
        (i, a, f, b, n, w), fails_at(WRITE, f))
INSTEAD(int, ftruncate, (int f, off_t n), (f, n), fails_at(WRITE, f))
INSTEAD(int, ftruncate64, (int f, off64_t n), (f, n), fails_at(WRITE, f))
INSTEAD(int, fsync, (int f), (f), fails_at(FLUSH, f))
INSTEAD(int, fdatasync, (int f), (f), fails_at(FLUSH, f))
INSTEAD(int, rename, (const char *a, const char *b), (a, b), fails(RENAME, b))
INSTEAD(int, mkdir, (const char *p, mode_t m), (p, m), fails(MKDIR, p))

#define OPENS(name)                                                               \
  int name(const char *path, int flags, ...) {                                    \
    static int (*real)(const char *, int, ...);                                   \
    if (!real) real = dlsym(RTLD_NEXT, #name);                                    \
    va_list more;                                                                 \
    va_start(more, flags);                                                        \
    mode_t mode = va_arg(more, mode_t);                                           \
    va_end(more);                                                                 \
    int writes = flags & (O_WRONLY | O_RDWR | O_CREAT);                           \
    return writes && fails(OPEN, path) ? -1 : real(path, flags, mode);            \
  }
OPENS(open)
OPENS(open64)
