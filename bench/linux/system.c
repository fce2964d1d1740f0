/* Workloads in the kernel: syscalls, forkexec. */
#include "works.h"

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

uint64_t work_syscalls(unsigned repeats)
{
    int zero = open("/dev/zero", O_RDONLY), null = open("/dev/null", O_WRONLY);
    uint64_t sum = 0;
    char byte = 1;
    must(zero >= 0 && null >= 0, "/dev/zero and /dev/null");
    for (unsigned r = 0; r < repeats; r++) {
        long parent = syscall(SYS_getppid);
        long got = read(zero, &byte, 1);
        long put = write(null, &byte, 1);
        sum += (uint64_t)(got + put + (parent >= 0)) + (uint8_t)byte;
    }
    close(zero);
    close(null);
    return sum;
}

uint64_t work_forkexec(unsigned repeats)
{
    uint64_t sum = 0;
    for (unsigned r = 0; r < repeats; r++) {
        int status;
        pid_t child = fork();
        must(child >= 0, "fork");
        if (child == 0) {
            execl("/proc/self/exe", "benchprog", "exec", (char *)0);
            _exit(1);
        }
        must(waitpid(child, &status, 0) == child, "wait");
        sum += (uint64_t)WEXITSTATUS(status);
    }
    return sum;
}
