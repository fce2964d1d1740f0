/* The program's version: shown by --version, kept in every recording. */
#ifndef RELIVE_CLI_VERSION_H
#define RELIVE_CLI_VERSION_H

#define RELIVE_VERSION "0.1.0"
#define RELIVE_BUILD   "relive " RELIVE_VERSION

#endif
