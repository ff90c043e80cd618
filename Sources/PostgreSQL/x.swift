import CPostgreSQL
func x() { _ = PQlibVersion() }
