//! isthmus-log
