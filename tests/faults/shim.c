/* Makes the N-th call that changes something below a folder fail, or kills the process there.
 *
 * Preloaded (LD_PRELOAD) by tests/faults/injection.py, which arms it through fault_arm. Calls are counted in the order
 * in which they happen: opening for writing, writing, flushing, renaming, linking, creating a folder, setting a size.
 * Removing is left alone, as a full disk and a failing one leave it alone.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char folder[PATH_MAX];
static int at = -1, number = 0, sticky = 0, count = 0;

/* at: index of the call to fail, -1 for none. number: errno, or 0 to kill. sticky: all later calls fail too. */
void fault_arm(const char *below, int index, int error, int stays)
{
    strncpy(folder, below, sizeof folder - 1);
    at = index, number = error, sticky = stays, count = 0;
}

int fault_count(void) { return count; }

static int inside(const char *path)
{
    char full[PATH_MAX];
    if (!folder[0] || !path) return 0;
    if (path[0] != '/') {
        if (!getcwd(full, sizeof full)) return 0;
        return strncmp(full, folder, strlen(folder)) == 0;
    }
    return strncmp(path, folder, strlen(folder)) == 0;
}

static int inside_fd(int fd)
{
    char link[64], path[PATH_MAX];
    if (!folder[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return inside(path);
}

static int fails(int concerned)
{
    if (!concerned) return 0;
    int index = count++;
    if (at < 0 || index < at || (index > at && !sticky)) return 0;
    if (number == 0) raise(SIGKILL);
    errno = number;
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define WRITES(flags) ((flags) & (O_WRONLY | O_RDWR | O_CREAT))

#define OPEN(name)                                                      \
    int name(const char *path, int flags, ...)                          \
    {                                                                   \
        va_list rest;                                                   \
        va_start(rest, flags);                                          \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                   \
        if (WRITES(flags) && fails(inside(path))) return -1;            \
        return REAL(name)(path, flags, mode);                           \
    }
OPEN(open)
OPEN(open64)

#define OPENAT(name)                                                    \
    int name(int dir, const char *path, int flags, ...)                 \
    {                                                                   \
        va_list rest;                                                   \
        va_start(rest, flags);                                          \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                   \
        if (WRITES(flags) && fails(inside(path))) return -1;            \
        return REAL(name)(dir, path, flags, mode);                      \
    }
OPENAT(openat)
OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t size)
{
    return fails(inside_fd(fd)) ? -1 : REAL(write)(fd, data, size);
}
ssize_t writev(int fd, const struct iovec *parts, int number_of)
{
    return fails(inside_fd(fd)) ? -1 : REAL(writev)(fd, parts, number_of);
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t offset)
{
    return fails(inside_fd(fd)) ? -1 : REAL(pwrite)(fd, data, size, offset);
}
ssize_t pwrite64(int fd, const void *data, size_t size, off64_t offset)
{
    return fails(inside_fd(fd)) ? -1 : REAL(pwrite64)(fd, data, size, offset);
}
int fsync(int fd) { return fails(inside_fd(fd)) ? -1 : REAL(fsync)(fd); }
int fdatasync(int fd) { return fails(inside_fd(fd)) ? -1 : REAL(fdatasync)(fd); }
int ftruncate(int fd, off_t size) { return fails(inside_fd(fd)) ? -1 : REAL(ftruncate)(fd, size); }
int ftruncate64(int fd, off64_t size) { return fails(inside_fd(fd)) ? -1 : REAL(ftruncate64)(fd, size); }
int rename(const char *from, const char *to) { return fails(inside(to)) ? -1 : REAL(rename)(from, to); }
int renameat(int a, const char *from, int b, const char *to)
{
    return fails(inside(to)) ? -1 : REAL(renameat)(a, from, b, to);
}
int link(const char *from, const char *to) { return fails(inside(to)) ? -1 : REAL(link)(from, to); }
int linkat(int a, const char *from, int b, const char *to, int flags)
{
    return fails(inside(to)) ? -1 : REAL(linkat)(a, from, b, to, flags);
}
int mkdir(const char *path, mode_t mode) { return fails(inside(path)) ? -1 : REAL(mkdir)(path, mode); }
int mkdirat(int dir, const char *path, mode_t mode) { return fails(inside(path)) ? -1 : REAL(mkdirat)(dir, path, mode); }
