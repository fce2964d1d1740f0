/* A time limit for KVM_RUN. Apart from lib_kvm_vm.c because <signal.h> and
 * cpu/cpu.h both have names like REG_RAX. */
#ifndef RELIVE_TESTS_KVM_ALARM_H
#define RELIVE_TESTS_KVM_ALARM_H

/* Make SIGALRM interrupt system calls and do no more. */
void kvm_alarm_install(void);
/* Send SIGALRM once after so many microseconds; 0 calls it off. */
void kvm_alarm_set(unsigned usec);

#endif
