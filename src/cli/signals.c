#include "cli/signals.h"

#include "host/clock.h"

#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

/* timeout(1) signals the process and then its group, shells do likewise: what
 * comes this soon after the first signal is the same request. */
#define SAME_REQUEST_NS UINT64_C(200000000)

/* Signal handlers have no argument of ours: these words are the program's only
 * state outside its call stack. */
static volatile sig_atomic_t arrived;
static volatile uint64_t arrived_ns; /* written once, before arrived */
static struct terminal *volatile user_terminal;
static const char *volatile watchdog_text;

static void restore(void)
{
    struct terminal *t = user_terminal;
    if (t)
        terminal_restore(t);
}

static void on_stop(int number)
{
    uint64_t now = clock_monotonic_ns(); /* safe in a handler */
    if (!arrived) {
        arrived_ns = now;
        arrived = number;
    } else if (now - arrived_ns > SAME_REQUEST_NS) {
        restore();
        _exit(128 + number);
    }
}

static void on_crash(int number)
{
    restore();
    (void)raise(number); /* the handler is gone: the default action follows */
}

void signals_install(struct terminal *terminal)
{
    static const int stops[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    static const int crashes[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
    struct sigaction action;
    user_terminal = terminal;
    memset(&action, 0, sizeof action);
    (void)sigemptyset(&action.sa_mask);
    action.sa_handler = on_stop;
    for (unsigned i = 0; i < sizeof stops / sizeof stops[0]; i++)
        (void)sigaddset(&action.sa_mask, stops[i]);
    for (unsigned i = 0; i < sizeof stops / sizeof stops[0]; i++)
        (void)sigaction(stops[i], &action, NULL);
    action.sa_handler = SIG_IGN;
    (void)sigaction(SIGPIPE, &action, NULL);
    if (!terminal)
        return;
    action.sa_handler = on_crash;
    action.sa_flags = (int)SA_RESETHAND;
    for (unsigned i = 0; i < sizeof crashes / sizeof crashes[0]; i++)
        (void)sigaction(crashes[i], &action, NULL);
}

static void on_alarm(int number)
{
    const char *text = watchdog_text;
    (void)number;
    restore();
    if (text)
        (void)!write(STDERR_FILENO, text, strlen(text));
    _exit(2);
}

void signals_watchdog(uint64_t ns, const char *text)
{
    struct sigaction action;
    const struct itimerval timer = {
        .it_value = {.tv_sec = (time_t)(ns / 1000000000),
                     .tv_usec = (suseconds_t)(ns / 1000 % 1000000)}};
    watchdog_text = text;
    memset(&action, 0, sizeof action);
    (void)sigemptyset(&action.sa_mask);
    action.sa_handler = on_alarm;
    (void)sigaction(SIGALRM, &action, NULL);
    (void)setitimer(ITIMER_REAL, &timer, NULL);
}

void signals_forget(void)
{
    arrived = 0;
}

bool signals_arrived(void)
{
    return arrived != 0;
}
