//! isthmus-link
