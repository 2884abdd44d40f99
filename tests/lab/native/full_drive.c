/* Copyright (c) alteryx_ops.server_backup contributors
 * GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
 * SPDX-License-Identifier: GPL-3.0-or-later
 */
/* A drive that is full or hangs for some folders only: a Linux library, preloaded into every process of a Wine node.
 * Three files beside the prefix order it. Each names folders, one on a line, by their real paths on the host:
 * - full-drive.txt: no file below these folders can grow. Existing bytes can be overwritten, and empty files can be
 *   created, as on a drive without a free block.
 * - hung-folders.txt: a call that lists one of these folders, or a folder below, does not return.
 * - stuck-folders.txt: a call that writes to a file below these folders does not return.
 * Wine does all its writing by the functions below. They hide those of the C library and so call the kernel. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { PATH = 4096, LIST = 65536 };

static char list_file[PATH], hung_file[PATH], stuck_file[PATH];

__attribute__((constructor)) static void find_list(void)
{
    const char *prefix = getenv("WINEPREFIX");
    if (!prefix)
        return;
    snprintf(list_file, sizeof list_file, "%s/../full-drive.txt", prefix);
    snprintf(hung_file, sizeof hung_file, "%s/../hung-folders.txt", prefix);
    snprintf(stuck_file, sizeof stuck_file, "%s/../stuck-folders.txt", prefix);
}

static int is_below(const char *path, const char *folder, size_t length)
{
    return length && !strncmp(path, folder, length) && path[length] == '/';
}

/* Whether the file is below one of the folders of a list. The list is read again at each call. */
static int is_listed(const char *list_of, const char *path)
{
    char list[LIST], *line = list, *end;
    int file = open(list_of, O_RDONLY | O_CLOEXEC), found = 0;
    ssize_t size = file < 0 ? 0 : read(file, list, sizeof list - 1);
    if (file >= 0)
        close(file);
    list[size > 0 ? size : 0] = 0;
    for (; !found && (end = strchr(line, '\n')); line = end + 1)
        found = is_below(path, line, (size_t)(end - line));
    return found;
}

/* Nearly always there is no list, and this is all that a write costs. */
static int is_there(const char *list_of)
{
    const int error = errno;
    const int there = *list_of && !access(list_of, F_OK);
    errno = error;
    return there;
}

static int is_armed(void)
{
    return is_there(list_file);
}

static int is_stuck(int descriptor)
{
    char link[64], path[PATH];
    ssize_t length;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    return is_listed(stuck_file, path);
}

static void wait_while_stuck(int descriptor)
{
    const int error = errno;
    while (is_there(stuck_file) && is_stuck(descriptor))
        usleep(50000);
    errno = error;
}

/* Whether a regular file may not become that large. */
static int is_refused(int descriptor, off_t size)
{
    char link[64], path[PATH];
    struct stat file;
    ssize_t length;
    if (fstat(descriptor, &file) || !S_ISREG(file.st_mode) || size <= file.st_size)
        return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    return is_listed(list_file, path);
}

/* The same for a write without an offset. */
static int is_write_refused(int descriptor, size_t count)
{
    struct stat file;
    const int flags = fcntl(descriptor, F_GETFL), appends = flags >= 0 && flags & O_APPEND;
    const off_t at = appends && !fstat(descriptor, &file) ? file.st_size : lseek(descriptor, 0, SEEK_CUR);
    return at >= 0 && is_refused(descriptor, at + (off_t)count);
}

static long full(void)
{
    errno = ENOSPC;
    return -1;
}

static size_t total(const struct iovec *parts, int count)
{
    size_t sum = 0;
    int i;
    for (i = 0; i < count; i++)
        sum += parts[i].iov_len;
    return sum;
}

ssize_t write(int descriptor, const void *data, size_t count)
{
    wait_while_stuck(descriptor);
    if (is_armed() && is_write_refused(descriptor, count))
        return full();
    return syscall(SYS_write, descriptor, data, count);
}

ssize_t writev(int descriptor, const struct iovec *parts, int count)
{
    if (is_armed() && is_write_refused(descriptor, total(parts, count)))
        return full();
    return syscall(SYS_writev, descriptor, parts, count);
}

ssize_t pwrite(int descriptor, const void *data, size_t count, off_t offset)
{
    wait_while_stuck(descriptor);
    if (is_armed() && is_refused(descriptor, offset + (off_t)count))
        return full();
    return syscall(SYS_pwrite64, descriptor, data, count, offset);
}

ssize_t pwritev(int descriptor, const struct iovec *parts, int count, off_t offset)
{
    if (is_armed() && is_refused(descriptor, offset + (off_t)total(parts, count)))
        return full();
    return syscall(SYS_pwritev, descriptor, parts, count, offset, 0L);
}

int ftruncate(int descriptor, off_t size)
{
    if (is_armed() && is_refused(descriptor, size))
        return (int)full();
    return (int)syscall(SYS_ftruncate, descriptor, size);
}

int fallocate(int descriptor, int mode, off_t offset, off_t size)
{
    if (is_armed() && is_refused(descriptor, offset + size))
        return (int)full();
    return (int)syscall(SYS_fallocate, descriptor, mode, offset, size);
}

/* Returns the error instead of setting it. */
int posix_fallocate(int descriptor, off_t offset, off_t size)
{
    const int before = errno;
    const int error = fallocate(descriptor, 0, offset, size) ? errno : 0;
    errno = before;
    return error;
}

/* Wine lists a folder from within it; by any other name it looks for a file that may be spelled otherwise. */
DIR *opendir(const char *name)
{
    static DIR *(*next)(const char *);
    char path[PATH];
    size_t length;
    if (!next)
        next = (DIR * (*)(const char *)) dlsym(RTLD_NEXT, "opendir");
    while (!strcmp(name, ".") && is_there(hung_file) && getcwd(path, sizeof path - 1)) {
        length = strlen(path);
        memcpy(path + length, "/", 2); /* the folder itself counts as well */
        if (!is_listed(hung_file, path))
            break;
        usleep(100000);
    }
    return next(name);
}

/* On a 64-bit machine both names mean the same. */
ssize_t pwrite64(int, const void *, size_t, off64_t) __attribute__((alias("pwrite")));
ssize_t pwritev64(int, const struct iovec *, int, off64_t) __attribute__((alias("pwritev")));
int ftruncate64(int, off64_t) __attribute__((alias("ftruncate")));
int fallocate64(int, int, off64_t, off64_t) __attribute__((alias("fallocate")));
int posix_fallocate64(int, off64_t, off64_t) __attribute__((alias("posix_fallocate")));
