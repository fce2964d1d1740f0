/* Names of bugchecks ("Bug Check Code Reference", Microsoft). */
#include "analysis/windows_kernel.h"

#include <stddef.h>

static const struct {
    uint32_t code;
    const char *name;
    bool is_fault; /* an exception of the kernel leads to it */
} bugchecks[] = {
    {0x01, "APC_INDEX_MISMATCH", false},
    {0x0a, "IRQL_NOT_LESS_OR_EQUAL", true},
    {0x18, "REFERENCE_BY_POINTER", false},
    {0x19, "BAD_POOL_HEADER", false},
    {0x1a, "MEMORY_MANAGEMENT", false},
    {0x1e, "KMODE_EXCEPTION_NOT_HANDLED", true},
    {0x24, "NTFS_FILE_SYSTEM", false},
    {0x34, "CACHE_MANAGER", false},
    {0x3b, "SYSTEM_SERVICE_EXCEPTION", true},
    {0x3f, "NO_MORE_SYSTEM_PTES", false},
    {0x4e, "PFN_LIST_CORRUPT", false},
    {0x50, "PAGE_FAULT_IN_NONPAGED_AREA", true},
    {0x5c, "HAL_INITIALIZATION_FAILED", false},
    {0x5d, "UNSUPPORTED_PROCESSOR", false},
    {0x6b, "PROCESS1_INITIALIZATION_FAILED", false},
    {0x6f, "SESSION3_INITIALIZATION_FAILED", false},
    {0x74, "BAD_SYSTEM_CONFIG_INFO", false},
    {0x76, "PROCESS_HAS_LOCKED_PAGES", false},
    {0x77, "KERNEL_STACK_INPAGE_ERROR", false},
    {0x7a, "KERNEL_DATA_INPAGE_ERROR", false},
    {0x7b, "INACCESSIBLE_BOOT_DEVICE", false},
    {0x7e, "SYSTEM_THREAD_EXCEPTION_NOT_HANDLED", true},
    {0x7f, "UNEXPECTED_KERNEL_MODE_TRAP", true},
    {0x80, "NMI_HARDWARE_FAILURE", false},
    {0x8e, "KERNEL_MODE_EXCEPTION_NOT_HANDLED", true},
    {0x9c, "MACHINE_CHECK_EXCEPTION", false},
    {0x9f, "DRIVER_POWER_STATE_FAILURE", false},
    {0xa5, "ACPI_BIOS_ERROR", false},
    {0xbe, "ATTEMPTED_WRITE_TO_READONLY_MEMORY", true},
    {0xc1, "SPECIAL_POOL_DETECTED_MEMORY_CORRUPTION", false},
    {0xc2, "BAD_POOL_CALLER", false},
    {0xc4, "DRIVER_VERIFIER_DETECTED_VIOLATION", false},
    {0xc5, "DRIVER_CORRUPTED_EXPOOL", false},
    {0xca, "PNP_DETECTED_FATAL_ERROR", false},
    {0xcb, "DRIVER_LEFT_LOCKED_PAGES_IN_PROCESS", false},
    {0xce, "DRIVER_UNLOADED_WITHOUT_CANCELLING_PENDING_OPERATIONS", false},
    {0xd1, "DRIVER_IRQL_NOT_LESS_OR_EQUAL", true},
    {0xd5, "DRIVER_PAGE_FAULT_IN_FREED_SPECIAL_POOL", true},
    {0xda, "SYSTEM_PTE_MISUSE", false},
    {0xe2, "MANUALLY_INITIATED_CRASH", false},
    {0xea, "THREAD_STUCK_IN_DEVICE_DRIVER", false},
    {0xed, "UNMOUNTABLE_BOOT_VOLUME", false},
    {0xef, "CRITICAL_PROCESS_DIED", false},
    {0xf4, "CRITICAL_OBJECT_TERMINATION", false},
    {0xf7, "DRIVER_OVERRAN_STACK_BUFFER", false},
    {0xfc, "ATTEMPTED_EXECUTE_OF_NOEXECUTE_MEMORY", true},
    {0xfe, "BUGCODE_USB_DRIVER", false},
    {0x101, "CLOCK_WATCHDOG_TIMEOUT", false},
    {0x109, "CRITICAL_STRUCTURE_CORRUPTION", false},
    {0x10d, "WDF_VIOLATION", false},
    {0x116, "VIDEO_TDR_FAILURE", false},
    {0x117, "VIDEO_TDR_TIMEOUT_DETECTED", false},
    {0x124, "WHEA_UNCORRECTABLE_ERROR", false},
    {0x133, "DPC_WATCHDOG_VIOLATION", false},
    {0x139, "KERNEL_SECURITY_CHECK_FAILURE", false},
    {0x161, "LIVE_SYSTEM_DUMP", false},
    {0xc000021a, "STATUS_SYSTEM_PROCESS_TERMINATED", false},
    {0xc0000221, "STATUS_IMAGE_CHECKSUM_MISMATCH", false},
};

bool bugcheck_is_fault(uint32_t code)
{
    for (size_t i = 0; i < sizeof bugchecks / sizeof bugchecks[0]; i++)
        if (bugchecks[i].code == code)
            return bugchecks[i].is_fault;
    return false;
}

const char *bugcheck_name(uint32_t code)
{
    for (size_t i = 0; i < sizeof bugchecks / sizeof bugchecks[0]; i++)
        if (bugchecks[i].code == code)
            return bugchecks[i].name;
    return NULL;
}
