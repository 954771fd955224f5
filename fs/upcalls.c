#include "fs/upcalls.h"

const char *upcall_name(enum upcall kind)
{
#define UPCALL_TEXT(name, text) text,
	static const char *const names[] = {UPCALLS(UPCALL_TEXT)};
#undef UPCALL_TEXT

	return names[kind];
}
