/* What a source says of itself, for `mlenvfs status`. */
#include <errno.h>

#include "client/arm_int.h"
#include "client/limiter.h"
#include "client/operations.h"

static bool add_budget(cJSON *o, const struct limiter_stats *s)
{
	if (s->reads_left >= 0 &&
	    (!cJSON_AddNumberToObject(o, "reads_left", (double)s->reads_left) ||
	     !cJSON_AddNumberToObject(o, "reserve", (double)s->reserve)))
		return false;
	if (s->writes_left >= 0 &&
	    !cJSON_AddNumberToObject(o, "writes_left", (double)s->writes_left))
		return false;
	return cJSON_AddNumberToObject(o, "throttled", (double)s->throttled) &&
	       cJSON_AddNumberToObject(o, "held_back", (double)s->waited) &&
	       cJSON_AddNumberToObject(o, "gave_way", (double)s->gave_way);
}

int arm_about(struct source *source, cJSON **out)
{
	struct arm *a = arm_of(source);
	char version[APIVERSION_SIZE];
	struct limiter_stats stats;
	cJSON *o = cJSON_CreateObject(), *operations;
	bool ok;

	apiversion_get(a->api_version, version);
	limiter_get_stats(a->limiter, &stats);
	ok = o && cJSON_AddStringToObject(o, "api_version", version) && add_budget(o, &stats);
	operations = ok ? cJSON_AddArrayToObject(o, "operations") : NULL;
	ok = operations && !operations_json(a->operations, operations);
	if (!ok) {
		cJSON_Delete(o);
		o = NULL;
	}
	*out = o;
	return o ? 0 : -ENOMEM;
}
