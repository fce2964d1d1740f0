#include "analysis/pdb.h"
#include "analysis/windows_internal.h"

#include <string.h>

/* Windows 7 (6.1.7600) and its service pack (6.1.7601), 32 and 64 bits, as the
 * public symbol files of ntoskrnl and ntkrnlpa describe them. */
static const struct {
    const char *type, *member;
    uint32_t at[4]; /* x86 SP0, x86 SP1, x64 SP0, x64 SP1 */
} fields[WIN_FIELDS] = {
    [WIN_PCR_SELF] = {"_KPCR", NULL, {0x1c, 0x1c, 0x18, 0x18}},
    [WIN_PCR_PRCB] = {"_KPCR", NULL, {0x20, 0x20, 0x20, 0x20}},
    [WIN_PCR_PRCB_DATA] = {"_KPCR", NULL, {0x120, 0x120, 0x180, 0x180}},
    [WIN_PRCB_CURRENT] = {"_KPRCB", "CurrentThread", {4, 4, 8, 8}},
    [WIN_PRCB_IDLE] = {"_KPRCB", "IdleThread", {0xc, 0xc, 0x18, 0x18}},
    [WIN_THREAD_PROCESS] = {"_KTHREAD",
                            "ApcState.Process",
                            {0x50, 0x50, 0x70, 0x70}},
    [WIN_PROCESS_ROOT] = {"_KPROCESS",
                          "DirectoryTableBase",
                          {0x18, 0x18, 0x28, 0x28}},
    [WIN_PROCESS_PID] = {"_EPROCESS",
                         "UniqueProcessId",
                         {0xb4, 0xb4, 0x180, 0x180}},
    [WIN_PROCESS_LINKS] = {"_EPROCESS",
                           "ActiveProcessLinks",
                           {0xb8, 0xb8, 0x188, 0x188}},
    [WIN_PROCESS_PARENT] = {"_EPROCESS",
                            "InheritedFromUniqueProcessId",
                            {0x140, 0x140, 0x290, 0x290}},
    [WIN_PROCESS_NAME] = {"_EPROCESS",
                          "ImageFileName",
                          {0x16c, 0x16c, 0x2e0, 0x2e0}},
    [WIN_PROCESS_THREADS] = {"_EPROCESS",
                             "ThreadListHead",
                             {0x188, 0x188, 0x308, 0x308}},
    [WIN_PROCESS_PEB] = {"_EPROCESS", "Peb", {0x1a8, 0x1a8, 0x338, 0x338}},
    [WIN_THREAD_CID] = {"_ETHREAD", "Cid", {0x22c, 0x22c, 0x3b0, 0x3b8}},
    [WIN_THREAD_LINKS] = {"_ETHREAD",
                          "ThreadListEntry",
                          {0x268, 0x268, 0x420, 0x428}},
    [WIN_PEB_LDR] = {"_PEB", "Ldr", {0xc, 0xc, 0x18, 0x18}},
    [WIN_LDR_LIST] = {"_PEB_LDR_DATA",
                      "InLoadOrderModuleList",
                      {0xc, 0xc, 0x10, 0x10}},
    [WIN_MODULE_BASE] = {"_LDR_DATA_TABLE_ENTRY",
                         "DllBase",
                         {0x18, 0x18, 0x30, 0x30}},
    [WIN_MODULE_BYTES] = {"_LDR_DATA_TABLE_ENTRY",
                          "SizeOfImage",
                          {0x20, 0x20, 0x40, 0x40}},
    [WIN_MODULE_PATH] = {"_LDR_DATA_TABLE_ENTRY",
                         "FullDllName",
                         {0x24, 0x24, 0x48, 0x48}},
    [WIN_MODULE_NAME] = {"_LDR_DATA_TABLE_ENTRY",
                         "BaseDllName",
                         {0x2c, 0x2c, 0x58, 0x58}},
};

void windows_layout_set(struct windows_layout *layout, bool is_sp1, bool is_64)
{
    for (unsigned i = 0; i < WIN_FIELDS; i++)
        layout->at[i] = fields[i].at[2 * is_64 + is_sp1];
}

static bool is_named(const struct pdb *pdb, const struct pe_image *kernel)
{
    struct pe_pdb named;
    struct pdb_identity found;
    return pe_pdb(kernel, &named) && pdb_identity(pdb, &found) &&
           memcmp(named.guid, found.guid, sizeof found.guid) == 0;
}

bool windows_layout_pdb(struct windows_layout *layout,
                        const struct pe_image *kernel, const char *path)
{
    struct pdb *pdb = pdb_open_file(path, NULL);
    bool ok = pdb && is_named(pdb, kernel);
    for (unsigned i = 0; ok && i < WIN_FIELDS; i++)
        if (fields[i].member)
            (void)pdb_member(pdb, fields[i].type, fields[i].member,
                             &layout->at[i]);
    pdb_close(pdb);
    return ok;
}
