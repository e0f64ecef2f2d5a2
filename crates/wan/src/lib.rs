//! isthmus-wan
