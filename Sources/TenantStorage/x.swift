import GRDB
import MasterKey
import PostgreSQL
