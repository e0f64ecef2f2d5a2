//! isthmus-replication
