# Puts the servers that the tests run under target/servers; needs no root.
.PHONY: servers
servers:
	@sh scripts/servers.sh
