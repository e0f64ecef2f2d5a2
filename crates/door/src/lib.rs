//! isthmus-door
