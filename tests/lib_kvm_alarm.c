#include "lib_kvm_alarm.h"

#include <signal.h>
#include <stddef.h>
#include <sys/time.h>

static void on_alarm(int number)
{
    (void)number;
}

void kvm_alarm_install(void)
{
    struct sigaction action = {.sa_handler = on_alarm};
    (void)sigaction(SIGALRM, &action, NULL);
}

void kvm_alarm_set(unsigned usec)
{
    /* Again and again: a signal just before KVM_RUN would be lost. */
    struct itimerval limit = {.it_value.tv_usec = usec,
                              .it_interval.tv_usec = usec};
    (void)setitimer(ITIMER_REAL, &limit, NULL);
}
