# How boldly a problem may be remedied, from how urgent it is and where it happens.
#
# input.priority     P0 to P3
# input.environment  production, staging, development, unknown, or what a namespace's label says
package kubernaut.gateway.remediation

import rego.v1

# Whatever no rule below speaks of waits for a person.
default path := "manual"

path := paths[input.environment][input.priority]

paths := {
	"production": {
		"P0": "aggressive",
		"P1": "conservative",
		"P2": "conservative",
	},
	"staging": {
		"P0": "moderate",
		"P1": "moderate",
	},
	"development": {
		"P0": "aggressive",
		"P1": "aggressive",
	},
}
